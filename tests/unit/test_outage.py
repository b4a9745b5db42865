"""One outage of the database is a few lines of the log, however many workers notice it."""

import logging

import pytest

from pgbourse.serve import outage
from pgbourse.serve.outage import Outage


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(outage, "time", clock)
    return clock


def test_many_workers_are_one_line_each(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    away = Outage(patience=120)
    away.note_back()
    for _ in range(8):
        away.note_gone("lost", clock.now)
        away.note_gone("refused", clock.now)
    assert not away.is_too_long("refused")
    clock.now += 130
    for _ in range(8):
        assert away.is_too_long("refused")
    for _ in range(8):
        away.note_back()
    assert not away.is_too_long("refused")
    assert caplog.messages == [
        "the database is away, requests wait: lost",
        "the database is away, requests wait: refused",
        "the database has been away for 120 s, requests are refused: refused",
        "the database is back after 130.0 s",
    ]


def test_a_third_reason_is_told_if_it_lasts(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    away = Outage(patience=0)
    for reason in ("lost", "no such file", "starting up", "in recovery"):
        clock.now += 0.1
        away.note_gone(reason, clock.now)
    clock.now += 6
    away.note_gone("the password is wrong", clock.now)
    away.note_gone("starting up", clock.now)
    told = [text.removeprefix("the database is away, requests wait: ") for text in caplog.messages]
    assert told == ["lost", "no such file", "the password is wrong"]
    clock.now += 1e6
    assert not away.is_too_long("no such file")  # without a limit


def test_who_learns_late_of_an_outage_that_is_over_begins_no_other(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    away = Outage(patience=1)
    began = clock.now
    away.note_gone("lost", began)
    clock.now += 5
    away.note_back()
    away.note_gone("starting up", began + 1)
    assert not away.is_too_long("starting up")
    assert len(caplog.messages) == 2
    clock.now += 1
    away.note_gone("lost", clock.now)
    assert caplog.messages[2:] == ["the database is away, requests wait: lost"]
