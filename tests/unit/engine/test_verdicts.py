"""How long what was found out about a replica stands."""

from __future__ import annotations

from penstock.engine.local.verdicts import MOST_S, Load, Question, Verdicts

QUESTION, LOAD = Question(2, is_there=False), Load(64, 8_000.0)


def test_loads_are_alike_where_neither_figure_is_far_from_the_others():
    assert Load(16, 10_000.0).is_like(Load(11, 6_000.0))
    assert Load(11, 6_000.0).is_like(Load(16, 10_000.0))
    assert not Load(16, 10_000.0).is_like(Load(64, 10_000.0))
    assert not Load(16, 10_000.0).is_like(Load(16, 30_000.0))


def test_each_load_has_its_own_verdict():
    verdicts = Verdicts()
    verdicts.note(QUESTION, LOAD, 0.0, 10.0, again=True)
    verdicts.note(QUESTION, LOAD._replace(held=16), 0.0, 5.0, again=True)
    assert verdicts.stands(QUESTION, LOAD, 9.0)
    assert not verdicts.stands(QUESTION, LOAD._replace(held=16), 9.0)
    assert not verdicts.stands(QUESTION, LOAD._replace(pace=800.0), 1.0)


def test_what_was_found_stands_for_its_time_and_for_its_question_only():
    verdicts = Verdicts()
    assert not verdicts.stands(QUESTION, LOAD, 5.0)
    verdicts.note(QUESTION, LOAD, 5.0, 10.0, again=True)
    assert verdicts.stands(QUESTION, LOAD, 14.9)
    assert not verdicts.stands(QUESTION, LOAD, 15.0)
    assert not verdicts.stands(QUESTION._replace(replica=3), LOAD, 6.0)
    assert not verdicts.stands(QUESTION._replace(is_there=True), LOAD, 6.0)
    verdicts.forget()
    assert not verdicts.stands(QUESTION, LOAD, 6.0)


def test_what_is_found_again_stands_twice_as_long_up_to_a_limit():
    verdicts = Verdicts()
    for expected in (10.0, 20.0, 40.0, 80.0, 160.0, MOST_S, MOST_S):
        verdicts.note(QUESTION, LOAD, 0.0, 10.0, again=True)
        assert verdicts.stands(QUESTION, LOAD, expected - 0.1)
        assert not verdicts.stands(QUESTION, LOAD, expected)
    verdicts.note(QUESTION, LOAD, 0.0, 10.0, again=False)
    assert not verdicts.stands(QUESTION, LOAD, 10.0)
