"""A running gateway's metrics for Prometheus. docs/operations.md says what each one means."""

import platform
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from pgbourse import __version__
from pgbourse.serve.server import Observed, Status
from pgbourse.serve.tally import Histogram

__all__ = ["CountOpen", "make_registry"]

# Returns the numbers of open orders, unsettled credits and incoming orders; None if the database does not
# answer.
CountOpen = Callable[[], tuple[int, int, int] | None]


def make_registry(
    server: Observed,
    count_open: CountOpen,
    postgresql: str,
    pids: Callable[[], Mapping[str, int]] | None = None,
    fired: Callable[[], int] = int,
    viewers: Callable[[], int] = int,
) -> CollectorRegistry:
    """Return all metrics of this server; `postgresql` is the version of its database.

    `pids` tells the processes of a server that has several, by name; `fired`, how many dead man's switches it
    has fired; `viewers`, how many look at the page.
    """
    registry = CollectorRegistry()
    registry.register(_Gateway(server, count_open, postgresql, fired, viewers))
    registry.register(ProcessCollector(registry=None) if pids is None else _Processes(pids))
    return registry


class _Processes(Collector):
    """The process metrics of several processes, each with its name as a label."""

    def __init__(self, pids: Callable[[], Mapping[str, int]]) -> None:
        self._pids = pids

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterable[Metric]:
        families: dict[str, Metric] = {}
        for name, pid in self._pids().items():
            for family in ProcessCollector(pid=partial(int, pid), registry=None).collect():
                ours = families.setdefault(
                    family.name, Metric(family.name, family.documentation, family.type)
                )
                for sample in family.samples:
                    ours.add_sample(sample.name, {**sample.labels, "process": name}, sample.value)
        return families.values()


_NOT_ACCEPTED = ("refused", "failed", "unknown")


class _Gateway(Collector):
    """Reads what a gateway's threads count anyway, without holding them up."""

    def __init__(
        self,
        server: Observed,
        count_open: CountOpen,
        postgresql: str,
        fired: Callable[[], int],
        viewers: Callable[[], int],
    ) -> None:
        self._server = server
        self._count_open = count_open
        self._fired = fired
        self._viewers = viewers
        self._build = {"version": __version__, "python": platform.python_version(), "postgresql": postgresql}

    def describe(self) -> Iterable[Metric]:
        return ()  # otherwise the registry would query the database when this is registered

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily("pgbourse_build", "Versions in use.", self._build)
        yield from self._traffic()
        yield from self._work()
        yield from self._database()

    def _traffic(self) -> Iterator[Metric]:
        status = self._server.status()
        yield _gauge("connections", "Client connections that are open.", status.traffic.connections)
        accepted = "Client connections accepted."
        yield CounterMetricFamily("pgbourse_connections_accepted", accepted, status.traffic.accepted)
        yield _gauge("queue_documents", "Documents that wait for a worker.", status.waiting_documents)
        yield _gauge("queue_bytes", "Bytes of the documents that wait for a worker.", status.waiting_bytes)
        text = "Orders that are reserved for and wait for their lane, or are in it."
        yield _gauge("lane_orders", text, status.lane_orders)
        text = "For how long the oldest batch in progress has waited for the database; 0 without one."
        yield _gauge("oldest_call_seconds", text, status.oldest_call_seconds)
        yield _gauge("processes", "Processes that serve clients.", status.processes)
        restarts = "Processes that were started again because they had died."
        yield CounterMetricFamily("pgbourse_process_restarts", restarts, status.restarts)
        yield from _feed(status)
        yield _gauge("page_viewers", "Browsers that look at the page.", self._viewers())
        yield _gauge("draining", "1 once the server is stopping.", int(status.draining))

    def _work(self) -> Iterator[Metric]:
        tallies = self._server.tallies
        requests = CounterMetricFamily(
            "pgbourse_requests", "Requests by kind and outcome.", labels=("kind", "outcome")
        )
        total: Counter[tuple[str, str]] = Counter()
        for tally in tallies:
            for (kind, outcome), count in dict(tally.outcomes).items():
                total[kind, outcome if outcome in _NOT_ACCEPTED else "accepted"] += count
        for labels, count in sorted(total.items()):
            requests.add_metric(labels, count)
        yield requests
        yield _histogram(
            "document_latency_seconds",
            "From a document's last byte until its reply was handed to the kernel.",
            [tally.latency for tally in tallies],
        )
        yield _histogram(
            "batch_documents", "Documents in a batch.", [tally.batch_documents for tally in tallies]
        )
        yield _histogram(
            "batch_requests", "Requests in a database call.", [tally.batch_requests for tally in tallies]
        )
        yield _histogram(
            "database_seconds", "Time of a batch in the database.", [tally.database for tally in tallies]
        )
        yield _histogram(
            "match_orders", "Orders in a database call of a lane.", [tally.match_orders for tally in tallies]
        )
        yield _histogram("match_seconds", "Time of such a call.", [tally.match_database for tally in tallies])
        yield CounterMetricFamily(
            "pgbourse_database_reconnects",
            "Connections to the database that a worker had to open again.",
            sum(tally.reconnects for tally in tallies),
        )

    def _database(self) -> Iterator[Metric]:
        fired = "Dead man's switches that this server has fired."
        yield CounterMetricFamily("pgbourse_switches_fired", fired, self._fired())
        counts = self._count_open()
        yield _gauge("database_up", "1 if the database answered this scrape.", int(counts is not None))
        if counts is not None:
            yield _gauge("open_orders", "Orders in the book.", counts[0])
            credits_help = "Credits that are not yet folded into their accounts."
            yield _gauge("unsettled_credits", credits_help, counts[1])
            yield _gauge("incoming_orders", "Orders reserved for and not in the market yet.", counts[2])


def _feed(status: Status) -> Iterator[Metric]:
    yield _gauge("feed_subscribers", "Connections that follow the market.", status.feed.subscribers)
    yield _gauge("feed_bytes", "Bytes of market data that are kept for them.", status.feed.kept_bytes)
    for name, text, count in (
        ("updates", "Updates handed to subscribers, one for each of them.", status.feed.updates),
        ("snapshots", "Books handed to subscribers.", status.feed.snapshots),
        ("late_snapshots", "Those in place of updates that they had missed.", status.feed.late),
    ):
        yield CounterMetricFamily(f"pgbourse_feed_{name}", text, count)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"pgbourse_{name}", text, value)


def _histogram(name: str, text: str, parts: Sequence[Histogram]) -> Metric:
    """Add up the workers' histograms, which all have the same bounds."""
    buckets: list[tuple[str, float]] = []
    below = 0
    bounds = [str(float(bound)) for bound in parts[0].bounds] + ["+Inf"]
    for bound, counts in zip(bounds, zip(*(part.counts for part in parts), strict=True), strict=True):
        below += sum(counts)
        buckets.append((bound, below))
    return HistogramMetricFamily(f"pgbourse_{name}", text, buckets, sum(part.sum for part in parts))
