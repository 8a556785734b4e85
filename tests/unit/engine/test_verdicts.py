"""How long what was found out about a replica stands."""

from __future__ import annotations

from penstock.engine.local.verdicts import LOADS, MOST_S, PUT_OFF_S, SETTLED_S, Load, Verdicts

LOAD, OTHER = Load(64, 8_000.0), Load(64, 30_000.0)


def verdict() -> Verdicts:
    return Verdicts(10.0, 1.0)


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


def test_each_load_keeps_its_own_verdict():
    found = verdict()
    found.note(LOAD, 0.0, again=True)
    found.note(LOAD, 10.0, again=True)  # stands for 20 s
    found.note(OTHER, 12.0, again=True)  # for 10 s
    assert found.stands(LOAD, 29.9, sure=True)
    assert not found.stands(LOAD, 30.0, sure=True)
    assert found.stands(OTHER, 21.9, sure=True)
    assert not found.stands(OTHER, 22.0, sure=True)


def test_a_third_load_is_judged_as_soon_however_often_the_others_were():
    found = verdict()
    for at in range(6):
        found.note(LOAD, float(at), again=True)
        found.note(OTHER, at + 0.5, again=True)
    third = Load(4, 500.0)
    assert found.stands(third, 6.0, sure=True)
    assert not found.stands(third, 6.0 + SETTLED_S, sure=True)


def test_the_load_judged_longest_ago_is_forgotten_when_there_are_many():
    found = verdict()
    loads = [Load(64, 100.0 * 3**step) for step in range(LOADS + 1)]
    for load in loads:
        found.note(load, 0.0, again=True)
    assert all(found.stands(load, 9.0, sure=True) for load in loads[1:])
    assert found.stands(loads[0], 9.0, sure=True)
    assert not found.stands(loads[0], 9.0 + SETTLED_S, sure=True)
