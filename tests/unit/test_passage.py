"""The passage that workers go through one after the other."""

import threading

import pytest

from pgbourse.serve.passage import Passage


class Clock:
    """Time that stands still."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def passage_whose_calls_take(seconds: float, clock: Clock) -> Passage:
    passage = Passage(clock)
    for _ in range(100):
        passage.enter(0)
        clock.now += seconds
        passage.leave(0)
    return passage


def entering(passage: Passage, worker: int) -> threading.Event:
    """Have a worker enter; return what tells that it is inside."""
    inside = threading.Event()

    def enter() -> None:
        passage.enter(worker)
        inside.set()

    threading.Thread(target=enter, daemon=True).start()
    return inside


def test_the_next_goes_in_when_the_one_inside_is_answered(clock: Clock) -> None:
    passage = passage_whose_calls_take(0.05, clock)
    passage.enter(0)
    inside = entering(passage, 1)
    assert not inside.wait(0.2)  # more than such a call takes, but the clock stands still
    passage.leave(0)
    assert inside.wait(60)
    passage.leave(0)  # isn't inside any longer; 1 is, and stays
    inside = entering(passage, 0)
    assert not inside.wait(0.2)
    passage.leave(1)
    assert inside.wait(60)


def test_the_next_goes_in_shortly_before_the_answer(clock: Clock) -> None:
    passage = passage_whose_calls_take(0.05, clock)
    passage.enter(0)
    clock.now += 0.049
    passage.enter(1)  # returns
    passage.leave(0)
    inside = entering(passage, 2)  # 1 begins now that 0 has been answered
    assert not inside.wait(0.2)
    clock.now += 0.049
    passage.enter(3)
    passage.leave(1)
    passage.leave(3)
    assert inside.wait(60)


def test_nobody_waits_for_long(clock: Clock) -> None:
    passage = passage_whose_calls_take(60, clock)
    passage.enter(0)
    clock.now += 0.2
    passage.enter(1)  # returns, although nobody has been answered


def test_nobody_waits_where_calls_are_short(clock: Clock) -> None:
    passage = passage_whose_calls_take(0.001, clock)
    passage.enter(0)
    passage.enter(1)
