"""The server's own pulse: rates and latency of the last seconds, from the counts that metrics add up."""

import time
from collections import deque
from typing import Any

from pgbourse.serve.server import Observed
from pgbourse.serve.tally import Histogram, Tally

__all__ = ["Pulse", "quantile"]

_WINDOW = 10  # beats over which latency and batches are told; rates are of the last one
_STALE = 5.0  # seconds: what was counted longer ago says nothing about now


class Pulse:
    """Compares the counts of one moment with those of some before. One thread calls it, once a second."""

    def __init__(self, server: Observed) -> None:
        self._server = server
        self._past: deque[tuple[float, Tally]] = deque(maxlen=_WINDOW + 1)

    def beat(self) -> dict[str, Any]:
        """Return the state of the server by name: rates are a second, latency and times are in seconds.

        What can't be told yet, or of which there was nothing, is None.
        """
        status = self._server.status()
        now, total = time.monotonic(), Tally()
        for tally in self._server.tallies:
            total.add(tally)
        if self._past and now - self._past[-1][0] > _STALE:
            self._past.clear()
        beat: dict[str, Any] = {
            "connections": status.traffic.connections,
            "waiting": status.waiting_documents,
            "processes": status.processes,
            "stopping": status.draining,
            "writes": not status.takes_no_writes,
            "orders": None,
            "documents": None,
            "p50": None,
            "p99": None,
            "batch": None,
            "call": None,
        }
        if self._past:
            at, before = self._past[-1]
            seconds = now - at
            beat["orders"] = (_orders(total) - _orders(before)) / seconds
            beat["documents"] = (sum(total.latency.counts) - sum(before.latency.counts)) / seconds
            first = self._past[0][1]
            beat["p50"] = quantile(total.latency, first.latency, 0.5)
            beat["p99"] = quantile(total.latency, first.latency, 0.99)
            beat["batch"] = _mean(total.batch_requests, first.batch_requests)
            beat["call"] = _mean(total.database, first.database)
        self._past.append((now, total))
        return beat


def _orders(tally: Tally) -> int:
    """Return how many orders have been answered, whether they were accepted or refused."""
    return sum([count for (kind, _), count in dict(tally.outcomes).items() if kind == "place_order"])


def _mean(now: Histogram, before: Histogram) -> float | None:
    count = sum(now.counts) - sum(before.counts)
    return (now.sum - before.sum) / count if count > 0 else None


def quantile(now: Histogram, before: Histogram, share: float) -> float | None:
    """Return about how large this share of the values since then was at most; None if there were none.

    Values are taken to lie evenly within a bucket, as Prometheus does. Of those beyond the last bound no more
    is known than that they are.
    """
    counts = [ours - theirs for ours, theirs in zip(now.counts, before.counts, strict=True)]
    rank = share * sum(counts)
    if rank <= 0:
        return None
    lower = 0.0
    for bound, count in zip(now.bounds, counts, strict=False):
        if rank <= count:
            return lower + (bound - lower) * rank / count
        rank -= count
        lower = bound
    return lower
