"""The loop of top: take samples, draw, wait for the next turn or a key."""

import contextlib
import io
import os
import select
import signal
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.live import Live
from rich.table import Table

from pgbourse.top.samples import DatabaseSampler, TopError, sample_gateway
from pgbourse.top.screen import History, render

__all__ = ["top"]

_NO_METRICS = "not asked: pgbourse serve --http-port offers it (of other servers, give --metrics-url)"
_NO_END = 10_000  # lines

FindMetrics = Callable[[], str | None]


def top(database_url: str, find_metrics: FindMetrics, seconds: float, *, once: bool = False) -> None:
    """Show an exchange on the terminal, updated at this interval in seconds, until q or Ctrl-C.

    The function says each time where a gateway's metrics are, if anywhere: a server may start elsewhere.
    With `once`, print a single screen after the first interval instead; with all its symbols, if it goes to a
    file or a pipe.

    Raises TopError if the database can't be read at the start; later failures are shown and tried again.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # one character for one, so that columns stay straight
    console = Console()
    history = History()
    height = _NO_END if once and not sys.stdout.isatty() else None
    database = DatabaseSampler(database_url)

    def draw() -> Table:
        return render(
            history,
            title=database.name,
            clock=time.strftime("%H:%M:%S") + ("" if once else "  q quits"),
            width=console.width,
            height=height or console.height,
        )

    try:
        history.database.append(database.sample(None))
        if once:
            _sample(history, database, find_metrics)
            time.sleep(seconds)
            _sample(history, database, find_metrics)
            console.print(draw())
            return
        with (
            contextlib.suppress(KeyboardInterrupt),
            _noted_interrupts() as interrupts,
            _own_screen(console),
            Live(draw(), console=console, screen=True, auto_refresh=False) as live,
        ):
            while not (interrupts or _quits_within(seconds)):
                _sample(history, database, find_metrics)
                live.update(draw(), refresh=True)
    finally:
        database.close()


def _sample(history: History, database: DatabaseSampler, find_metrics: FindMetrics) -> None:
    """Add a sample of the database, and of the gateway, to the history; or the problem with it."""
    try:
        history.database.append(database.sample(history.window()))
        history.database_problem = ""
    except TopError as error:
        history.database_problem = str(error)
    metrics_url = find_metrics()
    try:
        if metrics_url is None:
            raise TopError(_NO_METRICS)
        history.gateway.append(sample_gateway(metrics_url))
        history.gateway_problem = ""
    except TopError as error:
        history.gateway.clear()
        history.gateway_problem = str(error)


@contextlib.contextmanager
def _noted_interrupts() -> Iterator[list[int]]:
    """Record Ctrl-C as well as raising it: if it strikes in a finaliser, Python drops the exception."""
    interrupts: list[int] = []

    def note(number: int, _: object) -> None:
        interrupts.append(number)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, note)
    try:
        yield interrupts
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def _own_screen(console: Console) -> Iterator[None]:
    """Read keys one by one without echo, and restore the terminal at the end, even after Ctrl-C."""
    before = termios.tcgetattr(sys.stdin) if sys.stdin.isatty() else None
    try:
        if before is not None:
            tty.setcbreak(sys.stdin)
        yield
    finally:
        if console.is_alt_screen:  # Live was interrupted on its way in or out
            console.set_alt_screen(False)
            console.show_cursor()
        if before is not None:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def _quits_within(seconds: float) -> bool:
    """Wait for so many seconds; True as soon as somebody presses q."""
    deadline = time.monotonic() + seconds
    watched = [sys.stdin] if sys.stdin.isatty() else []
    while (left := deadline - time.monotonic()) > 0:
        if select.select(watched, [], [], left)[0] and os.read(sys.stdin.fileno(), 1) in (b"q", b"Q", b""):
            return True
    return False
