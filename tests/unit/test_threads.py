"""How a worker sleeps: no wake is lost, and none is left over for the next sleep."""

import threading

from pgbourse.serve.threads import Sleeper


def test_a_wake_ends_a_sleep_without_end() -> None:
    lock = threading.Lock()
    sleeper = Sleeper(lock)
    woken = threading.Event()

    def sleep() -> None:
        with lock:
            asleep.set()
            sleeper.sleep()
        woken.set()

    asleep = threading.Event()
    thread = threading.Thread(target=sleep, daemon=True)
    thread.start()
    assert asleep.wait(10)
    with lock:  # which it holds until it sleeps
        sleeper.wake()
        sleeper.wake()  # once is enough
    assert woken.wait(10)
    thread.join()


def test_who_does_not_sleep_is_not_woken_later() -> None:
    lock = threading.Lock()
    sleeper = Sleeper(lock)
    with lock:
        sleeper.wake()
        sleeper.sleep(0.001)
        assert not sleeper.is_asleep
        assert sleeper.bell.locked()


def test_no_wake_is_lost_or_left_over_when_sleeps_end_by_themselves() -> None:
    """The bell may ring just when the time is up."""
    lock = threading.Lock()
    sleeper = Sleeper(lock)
    taken = 0
    waiting = 0

    def take() -> None:
        nonlocal taken, waiting
        with lock:
            while taken < 5_000:
                if not waiting:
                    sleeper.sleep(0.00001)
                taken, waiting = taken + waiting, 0
                assert sleeper.bell.locked()

    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    for _ in range(5_000):
        with lock:
            waiting += 1
            sleeper.wake()
    thread.join(60)
    assert taken == 5_000


def test_a_ring_at_the_last_moment_is_not_left_over() -> None:
    lock = threading.Lock()
    sleeper = Sleeper(lock)

    class Late:
        """A bell that rings only after the time is up."""

        def __init__(self) -> None:
            self.acquired = 0

        def acquire(self, timeout: float = -1) -> bool:
            self.acquired += 1
            if timeout >= 0:
                with lock:
                    sleeper.wake()
                return False
            return True

        def release(self) -> None:
            pass

    sleeper.bell = bell = Late()  # type: ignore[assignment]
    with lock:
        sleeper.sleep(1.0)
    assert bell.acquired == 2  # for the time, and for the ring
