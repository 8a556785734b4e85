import pytest

from penstock.core import errors
from penstock.core.errors import BY_CODE, PenstockError, all_errors
from penstock.server.errors import RETRY_STATUSES, STATUSES, status_of


def test_every_error_has_a_status_by_class_by_instance_and_by_code():
    for kind in all_errors():
        assert 400 <= status_of(kind) <= 507
        assert status_of(kind("x")) == status_of(kind)
    for code, kind in BY_CODE.items():
        assert status_of(code) == status_of(kind)


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (errors.MalformedBody, 400),
        (errors.Unauthorized, 401),
        (errors.Forbidden, 403),
        (errors.NotFound, 404),
        (errors.SlowBody, 408),
        (errors.BodyTooLarge, 413),
        (errors.UnsupportedMedia, 415),
        (errors.InputMismatch, 422),
        (errors.InvalidSignature, 422),
        (errors.Overloaded, 429),
        (errors.FunctionFailed, 500),
        (errors.WorkerDied, 502),
        (errors.NotReady, 503),
        (errors.DeadlineExceeded, 504),
    ],
)
def test_the_documented_statuses(kind, status):
    assert status_of(kind) == status


def test_a_class_that_is_not_listed_has_the_status_of_its_parent():
    class Odd(errors.InputMismatch):
        code = "odd"

    assert status_of(Odd) == 422


def test_no_code_is_success_and_an_unknown_code_is_a_defect():
    assert status_of("") == 200
    assert status_of("made_up_by_a_worker") == 500


def test_the_table_lists_each_class_after_the_ones_a_caller_can_mend():
    statuses = list(STATUSES.values())
    assert statuses.index(500) > max(i for i, status in enumerate(statuses) if status < 500)
    assert set(STATUSES.values()) >= RETRY_STATUSES
    assert PenstockError in STATUSES
