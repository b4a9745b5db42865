"""What a load run came to: counts, latencies, errors by message, and how they are told."""

import html
import re
from collections import Counter
from typing import Any

from ddsketch import DDSketch

from pgbourse.logs import printable

__all__ = ["PERCENTILES", "Measurement"]

PERCENTILES = (50.0, 90.0, 99.0, 99.9)
_ACCURACY = 0.001  # a percentile is right within a thousandth of itself
_MAX_MESSAGES = 100  # distinct ones that are kept apart
_OTHERS = "(other messages)"

_ERROR_TEXT = re.compile(rb"<error\b[^>]*?(?:/>|>([^<]*)<)")
# What differs between errors that are alike: numbers, and the id of an internal error.
_NUMBER = re.compile(r"(?<=internal error )[0-9a-f]{8}\b|[0-9]+(\.[0-9]+)?")


class Measurement:
    """The figures of one run, added to while it lasts. Times are in seconds."""

    def __init__(self) -> None:
        self.documents = 0  # answered
        self.requests = 0  # in them
        self.opened = 0  # orders
        self.refused = 0  # results that are an <error>
        self.incomplete = 0  # replies with more or fewer results than requests
        self.unanswered = 0  # documents sent whose reply never came whole: their fate is unknown
        self.resent = 0  # times that a document was sent again, on another connection
        self.lost_connections = 0  # where the run carried on
        self.longest_silence = 0.0  # seconds in which no client got a reply
        self.unsent = 0  # at a fixed rate: documents that were due and had no free connection
        self.errors: Counter[str] = Counter()
        self.failure: str | None = None  # why the run ended early
        self.seconds = 0.0  # from the first document to the last reply
        self.cpu_seconds = 0.0  # of the load tool itself
        self.cpu_share = 0.0  # its use of one core, 1.0 being all of it
        self._latencies = DDSketch(_ACCURACY)
        self._longest = 0.0
        self._taken = 0.0
        self.series: list[tuple[float, int, int]] = []  # seconds since the start, documents, opened

    def record(self, seconds: float) -> None:
        """Record the latency of a document."""
        self._latencies.add(seconds)
        if seconds > self._longest:
            self._longest = seconds

    def take_recent_seconds(self) -> float:
        """Return the sum of the latencies recorded since this was last asked."""
        before, self._taken = self._taken, self._latencies.sum
        return self._taken - before

    def note_errors(self, reply: bytes) -> None:
        """Count the error messages of a reply, alike those that differ in numbers only."""
        for text in _ERROR_TEXT.findall(reply):
            message = _NUMBER.sub("N", html.unescape(text.decode(errors="replace")).strip())
            message = printable(message) or "(no text)"
            if message not in self.errors and len(self.errors) >= _MAX_MESSAGES:
                message = _OTHERS
            self.errors[message] += 1

    @property
    def documents_per_second(self) -> float:
        """Return the documents answered a second."""
        return self.documents / self.seconds if self.seconds else 0.0

    @property
    def orders_per_second(self) -> float:
        """Return the orders opened a second."""
        return self.opened / self.seconds if self.seconds else 0.0

    def latency_ms(self) -> dict[str, float]:
        """Return percentiles of the latency and its maximum, in milliseconds, by name."""
        longest = self._longest
        found = {
            f"p{percentile:g}": min(self._latencies.get_quantile_value(percentile / 100) or 0.0, longest)
            for percentile in PERCENTILES
        }
        return {name: round(1e3 * seconds, 3) for name, seconds in (found | {"max": longest}).items()}

    def as_dict(self) -> dict[str, Any]:
        """Return all figures, ready for JSON."""
        return {
            "orders_per_second": round(self.orders_per_second, 1),
            "documents_per_second": round(self.documents_per_second, 1),
            "latency_ms": self.latency_ms(),
            "seconds": round(self.seconds, 3),
            "documents": self.documents,
            "requests": self.requests,
            "opened": self.opened,
            "refused": self.refused,
            "errors": dict(self.errors.most_common()),
            "incomplete": self.incomplete,
            "unanswered": self.unanswered,
            "resent": self.resent,
            "lost_connections": self.lost_connections,
            "longest_silence_seconds": round(self.longest_silence, 3),
            "unsent": self.unsent,
            "failure": self.failure,
            "load_tool_cpu_share": round(self.cpu_share, 4),
            "series": [[round(at, 3), documents, opened] for at, documents, opened in self.series],
        }

    def lines(self) -> list[str]:
        """Return the summary for a terminal."""
        latency = "  ".join(f"{name} {value:.2f} ms" for name, value in self.latency_ms().items())
        each = self.cpu_seconds / self.documents * 1e6 if self.documents else 0.0
        lines = [
            f"{self.orders_per_second:.0f} orders/s  {self.documents_per_second:.0f} documents/s",
            f"latency  {latency}",
            f"{self.documents} documents answered in {self.seconds:.2f} s: {self.opened} orders opened, "
            f"{self.refused} requests refused",
            f"the load tool used {self.cpu_share:.0%} of one core, {each:.0f} us a document"
            + ("; it may limit these figures" if self.cpu_share > 0.8 else ""),
        ]
        lines += [f"{count:9} x {message}" for message, count in self.errors.most_common()]
        if self.lost_connections:
            lines.append(
                f"{self.lost_connections} connections were lost; "
                f"for {self.longest_silence:.1f} s no reply came to any client"
            )
        if self.resent:
            lines.append(f"{self.resent} documents had no answer and were sent again, with the same refs")
        if self.unsent:
            lines.append(f"{self.unsent} documents were due and found no free connection")
        if self.incomplete:
            lines.append(f"{self.incomplete} replies with another number of results than requests")
        if self.unanswered:
            lines.append(f"{self.unanswered} documents were sent and not answered: their fate is unknown")
        return lines
