"""What is said of a deploy that failed with something that is no error of ours."""

from __future__ import annotations

import errno
import os

import pytest

from penstock.control.deploy_failures import as_ours
from penstock.core.errors import DiskFull, InternalError, NotReady, StoreError


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.EACCES, StoreError),
        (errno.EMFILE, StoreError),
        (errno.EIO, StoreError),
        (errno.ENOSPC, DiskFull),
    ],
)
def test_a_disk_that_fails_is_named_with_the_file_and_the_reason(number, kind):
    error = as_ours(OSError(number, os.strerror(number), "blobs/ab"))
    assert type(error) is kind
    assert "blobs/ab" in error.message
    assert os.strerror(number) in error.message


def test_what_may_be_a_defect_is_an_internal_error_that_points_to_the_log():
    for cause in (ValueError("x"), ConnectionResetError(errno.ECONNRESET, "reset")):
        error = as_ours(cause)
        assert type(error) is InternalError
        assert type(cause).__name__ in error.message
        assert "log" in (error.hint or "")


def test_errors_of_ours_stay_what_they_are():
    ours = NotReady("It is starting.")
    assert as_ours(ours) is ours
