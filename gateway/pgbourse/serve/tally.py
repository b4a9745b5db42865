"""Counts of a worker's work: plain numbers, which the metrics read on request.

One thread writes a tally and any thread may read it, so there is no lock; a reader may see half of a batch.
"""

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence

from pgbourse.serve.portions import Item, Portion
from pgbourse.wire.messages import Refusal, Request, ResultRow

__all__ = ["Histogram", "Tally"]

# Upper bounds of the buckets: seconds from a bare commit to a client's patience, sizes up to far more than a
# batch takes by default.
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000)


class Histogram:
    """How many values fell into each bucket, and their sum."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def add(self, other: "Histogram") -> None:
        """Add what another one, with the same bounds, has observed."""
        self.counts = [ours + theirs for ours, theirs in zip(self.counts, other.counts, strict=True)]
        self.sum += other.sum


class Tally:
    """One worker's counts since it began, or those of several."""

    def __init__(self) -> None:
        # Requests by kind and outcome: that of the database's first row, or failed, or unknown.
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self.latency = Histogram(_SECONDS)  # of a document: from its last byte until its reply is sent
        self.batch_documents = Histogram(_SIZES)
        self.batch_requests = Histogram(_SIZES)
        self.database = Histogram(_SECONDS)  # of a batch: the calls of the database
        self.match_orders = Histogram(_SIZES)
        self.match_database = Histogram(_SECONDS)
        self.reconnects = 0

    def add(self, other: "Tally") -> None:
        """Add the counts of another one, which may be at work meanwhile."""
        for name, theirs in vars(other).items():
            ours = getattr(self, name)
            if isinstance(theirs, Histogram):
                ours.add(theirs)
            elif isinstance(theirs, Counter):
                ours.update(dict(theirs))  # a copy at one stroke
            else:
                setattr(self, name, ours + theirs)

    def gathered(self, portions: Sequence[Portion]) -> None:
        """Count a batch as it was gathered."""
        self.batch_documents.observe(sum([portion.documents for portion in portions]))

    def called(self, requests: int, seconds: float) -> None:
        """Count a first or only call for so many requests, and its seconds in the database."""
        if requests:
            self.batch_requests.observe(requests)
            self.database.observe(seconds)

    def matched(self, orders: int, seconds: float) -> None:
        """Count a lane's call for so many orders, and its seconds in the database."""
        if orders:
            self.match_orders.observe(orders)
            self.match_database.observe(seconds)

    def ended(
        self, requests: Sequence[Request], results: Sequence[Sequence[ResultRow]], *, lost: bool
    ) -> None:
        """Count requests by the first row of each one's results; if they are `lost`, those that have none."""
        self.outcomes.update(
            [(request.action, rows[0].outcome) for request, rows in zip(requests, results, strict=False)]
        )
        if lost:
            self.outcomes.update([(request.action, "unknown") for request in requests[len(results) :]])

    def answered(self, items: Sequence[Item]) -> None:
        """Count one client's documents, whose replies have just been sent."""
        now = time.monotonic()
        observe = self.latency.observe
        for item in items:
            observe(now - item.frame.received)
            if len(item.document.children) > len(item.document.requests):
                malformed = sum([type(child) is Refusal for child in item.document.children])
                self.outcomes.update([("malformed", "refused")] * malformed)
