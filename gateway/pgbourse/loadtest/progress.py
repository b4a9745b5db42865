"""The progress of a load run, and its rates: a bar on standard error."""

from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column

from pgbourse.loadtest.measurement import Measurement

__all__ = ["LoadProgress"]

_BAR_COLUMNS = 20


class LoadProgress:
    """Show a run's progress until the end of a `with` block, then remove it. Call it with new figures.

    Only these calls draw the bar: a thread of its own would take time from the load.
    """

    def __init__(
        self, *, seconds: float | None, documents: int | None, console: Console | None = None
    ) -> None:
        """Show a run of this many seconds, or documents; by default on standard error."""
        self._seconds = seconds
        self._documents = documents
        self._bar = Progress(
            BarColumn(_BAR_COLUMNS),
            TextColumn("{task.description}", table_column=Column(no_wrap=True)),
            console=console or Console(stderr=True),
            auto_refresh=False,
            transient=True,
        )
        self._task = self._bar.add_task("", total=seconds if documents is None else documents)
        self._before = (0.0, 0, 0)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def __call__(self, measurement: Measurement) -> None:
        """Show the rates since the last call, and how much of the run is left."""
        at, documents, opened = measurement.series[-1]
        then, documents_then, opened_then = self._before
        self._before = measurement.series[-1]
        latest = documents - documents_then
        latency = measurement.take_recent_seconds() / latest * 1e3 if latest else 0.0
        self._bar.update(
            self._task,
            completed=at if self._documents is None else documents,
            description=(
                f"{(opened - opened_then) / (at - then):.0f} orders/s  "
                f"{latest / (at - then):.0f} documents/s  mean latency {latency:.2f} ms  "
                f"{measurement.refused} errors  {self._left(at, documents)}"
            ),
            refresh=True,
        )

    def _left(self, at: float, documents: int) -> str:
        if self._documents is not None:
            return f"{self._documents - documents} documents left"
        return f"{max(0.0, (self._seconds or 0.0) - at):.0f} s left"
