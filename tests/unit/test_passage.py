"""The passage that workers go through one by one."""

import threading

from pgbourse.serve.passage import Passage


def entering(passage: Passage, worker: int) -> tuple[threading.Thread, threading.Event]:
    """Have a worker enter; return its thread, and what tells that it is inside."""
    inside = threading.Event()

    def enter() -> None:
        passage.enter(worker)
        inside.set()

    thread = threading.Thread(target=enter)
    thread.start()
    return thread, inside


def test_the_next_goes_in_when_the_one_inside_leaves() -> None:
    passage = Passage()
    passage.enter(0)
    thread, inside = entering(passage, 1)
    assert not inside.is_set()
    passage.leave(0)
    thread.join()
    passage.leave(0)  # is not inside: 1 is, and stays
    thread, inside = entering(passage, 0)
    assert not inside.is_set()
    passage.leave(1)
    thread.join()


def test_nobody_waits_for_long() -> None:
    passage = Passage()
    passage.enter(0)
    passage.enter(1)  # returns, although nobody has left
    passage.leave(1)  # was not inside
    thread, inside = entering(passage, 2)
    assert not inside.is_set()
    passage.leave(0)
    thread.join()
