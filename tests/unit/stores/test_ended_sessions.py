"""Sessions that were signed out of stay ended, as long as they would have gone on."""

from __future__ import annotations

from penstock.stores import ended_sessions
from penstock.stores.ended_sessions import EndedSessions


def test_a_session_stays_ended_when_the_file_is_opened_again_until_its_time(tmp_path):
    path = tmp_path / "ended"
    ended = EndedSessions(path, 1000.0)
    ended.add("key.2000.abc", 2000)
    ended.add("key.3000.def", 3000)
    assert path.stat().st_mode & 0o777 == 0o600
    assert "key" not in path.read_text()
    again = EndedSessions(path, 2500.0)
    assert "key.3000.def" in again
    assert "key.2000.abc" not in again
    assert "key.3000.other" not in again
    assert len(path.read_text().splitlines()) == 1


def test_a_line_that_a_crash_cut_short_harms_no_other(tmp_path):
    path = tmp_path / "ended"
    EndedSessions(path, 0.0).add("first", 100)
    path.write_text(path.read_text() + "100 abc")
    ended = EndedSessions(path, 0.0)
    ended.add("second", 100)
    again = EndedSessions(path, 0.0)
    assert "first" in again
    assert "second" in again


def test_of_too_many_those_that_end_first_are_forgotten(tmp_path, monkeypatch):
    monkeypatch.setattr(ended_sessions, "MOST", 20)
    ended = EndedSessions(tmp_path / "ended", 0.0)
    for number in range(21):
        ended.add(f"session {number}", 100 + number)
    for each in (ended, EndedSessions(tmp_path / "ended", 0.0)):
        assert "session 0" not in each
        assert "session 2" in each
        assert "session 20" in each
