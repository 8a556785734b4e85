"""How long what was found out about a replica stands."""

from __future__ import annotations

from penstock.engine.local.verdicts import MOST_S, Question, Verdicts, load_of

QUESTION = Question(2, is_there=False, load=load_of(64, 8_000.0))


def test_loads_are_alike_to_about_a_factor_of_two():
    assert load_of(16, 10_000.0) == load_of(20, 11_000.0) == load_of(12, 6_000.0)
    assert load_of(16, 10_000.0) != load_of(64, 10_000.0)
    assert load_of(16, 10_000.0) != load_of(16, 30_000.0)
    assert load_of(0, 0.0) == load_of(1, 1.0)


def test_what_was_found_stands_for_its_time_and_for_its_question_only():
    verdicts = Verdicts()
    assert not verdicts.stands(QUESTION, 5.0)
    verdicts.note(QUESTION, 5.0, 10.0, again=True)
    assert verdicts.stands(QUESTION, 14.9)
    assert not verdicts.stands(QUESTION, 15.0)
    assert not verdicts.stands(QUESTION._replace(replica=3), 6.0)
    assert not verdicts.stands(QUESTION._replace(is_there=True), 6.0)
    verdicts.forget()
    assert not verdicts.stands(QUESTION, 6.0)


def test_what_is_found_again_stands_twice_as_long_up_to_a_limit():
    verdicts = Verdicts()
    for expected in (10.0, 20.0, 40.0, 80.0, 160.0, MOST_S, MOST_S):
        verdicts.note(QUESTION, 0.0, 10.0, again=True)
        assert verdicts.stands(QUESTION, expected - 0.1)
        assert not verdicts.stands(QUESTION, expected)
    verdicts.note(QUESTION, 0.0, 10.0, again=False)
    assert not verdicts.stands(QUESTION, 10.0)
