"""How long what was found out about a replica stands."""

from __future__ import annotations

from penstock.engine.local.verdicts import MOST_S, PUT_OFF_S, SETTLED_S, Load, Verdict

LOAD, OTHER = Load(64, 8_000.0), Load(64, 30_000.0)


def verdict() -> Verdict:
    return Verdict(10.0, 1.0)


def test_loads_are_alike_where_neither_figure_is_far_from_the_others():
    assert Load(16, 10_000.0).is_like(Load(11, 6_000.0))
    assert Load(11, 6_000.0).is_like(Load(16, 10_000.0))
    assert not Load(16, 10_000.0).is_like(Load(64, 10_000.0))
    assert not Load(16, 10_000.0).is_like(Load(16, 30_000.0))


def test_nothing_stands_before_anything_was_found():
    assert not verdict().stands(LOAD, 0.0, sure=True)


def test_what_was_found_stands_for_its_time():
    found = verdict()
    found.note(LOAD, 5.0, again=False)
    assert found.stands(LOAD, 14.9, sure=True)
    assert not found.stands(LOAD, 15.0, sure=True)
    found.forget()
    assert not found.stands(LOAD, 6.0, sure=True)


def test_under_another_load_it_stands_until_that_has_settled():
    found = verdict()
    found.note(LOAD, 0.0, again=False)
    assert found.stands(OTHER, 3.0, sure=True)
    assert found.stands(OTHER, 3.0 + SETTLED_S - 0.1, sure=True)
    assert not found.stands(OTHER, 3.0 + SETTLED_S, sure=True)


def test_a_load_that_is_itself_again_has_to_settle_anew():
    found = verdict()
    found.note(LOAD, 0.0, again=False)
    assert found.stands(OTHER, 3.0, sure=True)
    assert found.stands(LOAD, 3.1, sure=True)
    assert found.stands(OTHER, 3.2, sure=True)
    assert found.stands(OTHER, 3.1 + SETTLED_S, sure=True)


def test_a_load_that_is_known_roughly_is_not_taken_for_another():
    found = verdict()
    found.note(LOAD, 0.0, again=False)
    for at in (3.0, 4.0, 5.0, 9.9):
        assert found.stands(OTHER, at, sure=False)


def test_what_is_found_again_stands_twice_as_long_up_to_a_limit():
    found = verdict()
    for expected in (10.0, 20.0, 40.0, 80.0, 160.0, MOST_S, MOST_S):
        found.note(LOAD, 0.0, again=True)
        assert found.stands(LOAD, expected - 0.1, sure=True)
        assert not found.stands(LOAD, expected, sure=True)
    found.note(LOAD, 0.0, again=False)
    assert not found.stands(LOAD, 10.0, sure=True)


def test_what_is_put_off_is_put_off_longer_from_time_to_time():
    found = verdict()
    for expected in (PUT_OFF_S, 2 * PUT_OFF_S, 4 * PUT_OFF_S):
        found.put_off(LOAD, 0.0)
        assert found.stands(LOAD, expected - 0.1, sure=True)
        assert not found.stands(LOAD, expected, sure=True)
