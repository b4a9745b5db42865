"""What is between the two stages: orders that are reserved for and not yet matched, in lanes of symbols.

A lane is a fixed part of all symbols, with one worker. So lanes never wait for one another.
"""

import threading
import time
from collections import deque
from collections.abc import Sequence

from pgbourse.serve.calls import Reserved
from pgbourse.serve.portions import Portion
from pgbourse.serve.threads import Sleeper

__all__ = ["Lanes", "Part"]


class Part:
    """What one lane has of a portion; of one without orders it is told when all before it is durable."""

    __slots__ = ("aside", "is_given_up", "orders", "places", "portion", "size", "was_lost")

    def __init__(self, portion: Portion, places: list[int], orders: list[Reserved]) -> None:
        self.portion = portion
        self.places = places  # of these orders in the portion
        self.orders = orders
        self.size = len(orders)  # as counted
        self.was_lost = False  # the answer to a call with these orders, so that they may be matched already
        self.is_given_up = False  # its client has been closed, for the database was away for too long
        self.aside = 0.0  # seconds for which it is to be set aside; 0 if its orders have their results


class Lanes:
    """The queues of all lanes. One lock guards them, and how much of each portion is away."""

    def __init__(self, count: int) -> None:
        self._lock = threading.Lock()
        # Each lane's worker sleeps by itself: waking all of them for one costs more than what that one does.
        self._sleepers = [Sleeper(self._lock) for _ in range(count)]
        self._queues: list[deque[Part]] = [deque() for _ in range(count)]
        self._aside: list[deque[tuple[float, Part]]] = [deque() for _ in range(count)]  # with their times
        self._next = 0  # the lane for the next portion without orders
        self._stopping = False
        self.orders = 0  # that are here, or with a worker

    def put(self, portions: Sequence[Portion]) -> None:
        """Take what is reserved in these portions, whose refusals must become durable, too."""
        count = len(self._queues)
        parts: list[tuple[int, Part]] = []
        for portion in portions:
            of_lane: dict[int, Part] = {}
            for place, order in portion.reserved:
                lane = order.slot % count
                part = of_lane.get(lane)
                if part is None:
                    part = of_lane[lane] = Part(portion, [], [])
                part.places.append(place)
                part.orders.append(order)
            portion.reserved = []
            if not of_lane:
                self._next = (self._next + 1) % count
                of_lane[self._next] = Part(portion, [], [])
            portion.away = len(of_lane)
            for part in of_lane.values():
                part.size = len(part.orders)
            parts.extend(of_lane.items())
        with self._lock:
            for lane, part in parts:
                self._queues[lane].append(part)
                self.orders += len(part.orders)
            for lane in {lane for lane, _ in parts}:
                self._sleepers[lane].wake()

    def take(self, lane: int, most: int) -> list[Part] | None:
        """Wait for parts of so many orders at most, or one part; None once stopped."""
        queue, aside = self._queues[lane], self._aside[lane]
        with self._lock:
            while True:
                now = time.monotonic()
                if aside and aside[0][0] <= now:
                    due = sum([at <= now for at, _ in aside])
                    queue.extendleft(reversed([aside.popleft()[1] for _ in range(due)]))  # in their order
                if queue:
                    break
                if self._stopping and not aside:
                    return None
                self._sleepers[lane].sleep(aside[0][0] - now if aside else None)
            parts: list[Part] = []
            size = 0
            while queue and (not parts or size + len(queue[0].orders) <= most):
                parts.append(queue.popleft())
                size += len(parts[-1].orders)
            return parts

    def split(self, part: Part) -> Part:
        """Cut a part in two, in place; return the second half."""
        half = len(part.orders) // 2
        other = Part(part.portion, part.places[half:], part.orders[half:])
        other.was_lost, other.is_given_up = part.was_lost, part.is_given_up
        part.places, part.orders, part.size = part.places[:half], part.orders[:half], part.size - other.size
        with self._lock:
            part.portion.away += 1
        return other

    def bring_back(self, lane: int, parts: Sequence[Part]) -> list[Portion]:
        """Set parts aside, or let go of them, and return the portions of which none is away any more."""
        ended: list[Portion] = []
        now = time.monotonic()
        with self._lock:
            for part in parts:
                if part.aside:
                    self._aside[lane].append((now + part.aside, part))
                    continue
                self.orders -= part.size
                part.portion.away -= 1
                if not part.portion.away:
                    ended.append(part.portion)
        return ended

    def stop(self) -> None:
        """Let workers end when their lanes are empty."""
        with self._lock:
            self._stopping = True
            for sleeper in self._sleepers:
                sleeper.wake()
