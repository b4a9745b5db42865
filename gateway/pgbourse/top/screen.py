"""What top shows: samples in, one terminal screen out. Pure; any terminal size."""

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.measure import Measurement
from rich.panel import Panel
from rich.segment import Segment
from rich.style import Style
from rich.table import Table
from rich.text import Text

from pgbourse.top.figures import count, number, places_of, short, size
from pgbourse.top.samples import DatabaseSample, GatewaySample, Market, Totals

__all__ = ["History", "quantile", "render"]

_BARS = " ▁▂▃▄▅▆▇█"
_ASCII_BARS = " .:-=+*#@"  # where the terminal shows nothing else
_KEPT = 240  # samples, for the curve: more than fit on a line
_WINDOW = 3  # samples over which the busiest symbols are counted, so that they don't jump about
_PANEL_LINES = 9
_WIDE = 120  # columns of a terminal: with so many there is room for everything
_ROOMY = 80
_NARROW = 58
_WAITING = (7, 12)  # columns for how long others wait for a symbol: on a narrow terminal, and else
# A symbol's columns besides its name, and how wide a terminal must be for each, so that the name has room.
_COLUMNS = {
    "bid size": _WIDE,
    "bid": 0,
    "ask": 0,
    "ask size": _WIDE,
    "spread": _ROOMY,
    "orders/s": _NARROW,
    "fills/s": _ROOMY,
    "shares/s": _WIDE,
    "waiting": 0,
}

# Seconds above which a person should take a look.
_SLOW_WAIT = 0.5
_OLD_TRANSACTION = 60.0

_ALIGNED_PLACES = 4  # prices with up to so many decimal places are aligned

_DIM = "dim"
_ALARM = "bold red"


@dataclass
class History:
    """The latest samples, newest last, and what could not be sampled, in words."""

    database: deque[DatabaseSample] = field(default_factory=lambda: deque(maxlen=_KEPT))
    gateway: deque[GatewaySample] = field(default_factory=lambda: deque(maxlen=2))
    database_problem: str = ""
    gateway_problem: str = ""

    def window(self) -> DatabaseSample | None:
        """The sample since which the next one should count what happened to each symbol."""
        return self.database[-min(_WINDOW, len(self.database))] if self.database else None


def render(history: History, *, title: str, clock: str, width: int, height: int) -> Table:
    """Draw a screen of this width in columns and height in lines; the clock stands at its right end."""
    panels = Table.grid(expand=True)
    for _ in range(3):
        panels.add_column(ratio=1)
    panels.add_row(
        Panel(_exchange(history), title="exchange", border_style="cyan", height=_PANEL_LINES),
        Panel(_gateway(history), title="gateway", border_style="cyan", height=_PANEL_LINES),
        Panel(_database(history), title="database", border_style="cyan", height=_PANEL_LINES),
    )
    screen = Table.grid(expand=True)
    screen.add_row(_heading(history, title, clock))
    screen.add_row(panels)
    held = history.database[-1].held if history.database else ""
    if held:
        screen.add_row(Text(f" {held}", style=_ALARM, no_wrap=True, overflow="ellipsis"))
    screen.add_row(_markets(history, width, rows=max(0, height - 14 - bool(held))))
    return screen


def quantile(older: GatewaySample, newer: GatewaySample, part: float) -> float | None:
    """Return a quantile, in seconds, of the latency of documents answered between two samples.

    Interpolates within a bucket. Returns infinity beyond the last bound, None without documents.
    """
    before = dict(older.latency)
    counts = [(bound, below - before.get(bound, 0)) for bound, below in newer.latency]
    if not counts or counts[-1][1] <= 0:
        return None
    wanted = part * counts[-1][1]
    low, below_low = 0.0, 0.0
    for bound, below in counts:
        if below >= wanted:
            if math.isinf(bound):
                return bound
            return low + (bound - low) * (wanted - below_low) / ((below - below_low) or 1)
        low, below_low = bound, below
    return None


def _heading(history: History, title: str, clock: str) -> Table:
    heading = Table.grid(expand=True)
    heading.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    heading.add_column(justify="right", no_wrap=True)
    name = Text(" pgbourse top", style="bold")
    if history.database_problem:
        name.append(f"  {history.database_problem}", style=_ALARM)
    else:
        name.append(f"  {title}", style="not bold")
    heading.add_row(name, Text(f"{clock} ", style=_DIM))
    return heading


def _exchange(history: History) -> Group | Text:
    if not history.database:
        return Text("no figures yet", style=_DIM)
    rates = [
        (newer.totals.orders - older.totals.orders) / (newer.at - older.at)
        for older, newer in zip(history.database, list(history.database)[1:], strict=False)
    ]
    totals = history.database[-1].totals
    lines = _lines()
    lines.add_row("orders/s", Text(count(rates[-1]) if rates else "…", style="bold green"))
    lines.add_row("fills/s", _rate(history.database, lambda totals: totals.executions))
    lines.add_row("open orders", count(totals.open_orders))
    lines.add_row("unsettled", count(totals.credits))
    lines.add_row("commits/s", _rate(history.database, lambda totals: totals.commits))
    caption = Text("orders/s until now", style=_DIM, no_wrap=True, overflow="ellipsis")
    return Group(lines, caption, _Curve(rates))


def _gateway(history: History) -> Table | Text:
    if history.gateway_problem or len(history.gateway) < 2:
        return Text(history.gateway_problem or "no figures yet", style=_DIM)
    lines = _lines()
    older, newer = history.gateway
    seconds = newer.at - older.at
    requests = sum(newer.requests.values()) - sum(older.requests.values())
    refused = newer.refused - older.refused
    batches = newer.batches - older.batches
    documents = newer.batched_documents - older.batched_documents
    lines.add_row("requests/s", Text(count(max(0.0, requests) / seconds), style="bold green"))
    lines.add_row("refused", f"{100 * refused / requests:.1f} %" if requests > 0 else "-")
    lines.add_row("p50", short(quantile(older, newer, 0.5)))
    lines.add_row("p99", short(quantile(older, newer, 0.99)))
    lines.add_row("batch", f"{documents / batches:.1f} docs" if batches > 0 else "-")
    lines.add_row("queue", count(newer.queue_documents))
    state = "  draining" if newer.draining else ""
    lines.add_row("connections", count(newer.connections) + state)
    return lines


def _database(history: History) -> Table | Text:
    if not history.database:
        return Text("no figures yet", style=_DIM)
    sessions = history.database[-1].sessions
    load = written = hits = "…"
    if len(history.database) > 1:
        older, newer = history.database[-2].totals, history.database[-1].totals
        seconds = history.database[-1].at - history.database[-2].at
        load = f"{(newer.active_seconds - older.active_seconds) / seconds:.2f}"
        written = f"{size((newer.wal_bytes - older.wal_bytes) / seconds)}/s"
        read = newer.blocks_read - older.blocks_read
        touched = read + newer.blocks_hit - older.blocks_hit
        hits = f"{100 * (1 - read / touched):.1f} %" if touched > 0 else "-"
    lines = _lines()
    lines.add_row("load", load)
    wait = sessions.longest_wait
    lines.add_row(
        "lock wait",
        Text(
            "none" if wait is None else f"{short(wait)} ({sessions.waiting})",
            style=_ALARM if (wait or 0) > _SLOW_WAIT else "",
        ),
    )
    oldest = sessions.oldest_transaction
    lines.add_row("oldest tx", Text(short(oldest), style=_ALARM if (oldest or 0) > _OLD_TRANSACTION else ""))
    lines.add_row("idle in tx", count(sessions.idle_in_transaction))
    lines.add_row("rollbacks/s", _rate(history.database, lambda totals: totals.rollbacks))
    lines.add_row("cache hits", hits)
    lines.add_row("WAL", written)
    return lines


def _markets(history: History, width: int, rows: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD, expand=True, pad_edge=False, header_style="bold cyan", padding=(0, 1))
    # Columns share the room there is; on a narrow screen they are as wide as their figures usually are.
    table.add_column("symbol", no_wrap=True, overflow="ellipsis", ratio=2)
    wide = width >= _WIDE
    names = [name for name, least in _COLUMNS.items() if width >= least]
    for name in names:
        table.add_column(
            name,
            justify="right",
            no_wrap=True,
            overflow="ellipsis",
            width=None if wide else _WAITING[width >= _NARROW] if name == "waiting" else 8,
            ratio=1 if wide else None,
        )
    if not history.database:
        return table
    sample = history.database[-1]
    seconds = None if sample.since is None else sample.at - sample.since
    hidden = len(sample.markets) - rows
    shown = sample.markets[: max(0, rows - (hidden > 0))]
    prices = [price for market in shown for price in (market.bid, market.ask) if price is not None]
    places = max((min(places_of(price), _ALIGNED_PLACES) for price in prices), default=0)
    for market in shown:
        cells = _market(market, seconds, places)
        table.add_row(Text(market.sym, style="bold"), *(cells[name] for name in names))
    if hidden > 0 and rows > 0:
        table.add_row(Text(f"{hidden + 1} more", style=_DIM))
    return table


def _market(market: Market, seconds: float | None, places: int) -> dict[str, Text]:
    """Return the cells of a symbol by the headings of their columns."""

    def rate(value: Decimal | int) -> Text:
        return Text("" if seconds is None else count(float(value) / seconds))

    if market.halted:
        state = Text("halted", style=_ALARM)
    elif market.waiters:
        slow = (market.longest_wait or 0) > _SLOW_WAIT
        state = Text(f"{short(market.longest_wait)} ({market.waiters})", style=_ALARM if slow else "")
    else:
        state = Text()
    return {
        "bid size": Text(number(market.bid_shares)),
        "bid": Text(number(market.bid, places), style="green"),
        "ask": Text(number(market.ask, places), style="red"),
        "ask size": Text(number(market.ask_shares)),
        "spread": Text(number(market.spread, places)),
        "orders/s": rate(market.orders),
        "fills/s": rate(market.trades),
        "shares/s": rate(market.shares),
        "waiting": state,
    }


class _Curve:
    """A line of bars for the latest values, as many as fit."""

    def __init__(self, values: Sequence[float]) -> None:
        self._values = values

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        shown = list(self._values)[-options.max_width :]
        highest = max(shown, default=0.0) or 1.0
        bars = _ASCII_BARS if options.ascii_only else _BARS
        top = len(bars) - 1
        line = "".join(bars[min(top, math.ceil(max(0.0, value) / highest * top))] for value in shown)
        yield Segment(line.rjust(options.max_width), Style(color="green"))

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(1, options.max_width)


def _lines() -> Table:
    lines = Table.grid(expand=True, padding=(0, 1, 0, 0))
    lines.add_column(no_wrap=True, overflow="ellipsis", ratio=1)  # where there is no room, names give way
    lines.add_column(justify="right", no_wrap=True)
    return lines


def _rate(samples: Sequence[DatabaseSample], of: Callable[[Totals], int]) -> str:
    if len(samples) < 2:
        return "…"
    older, newer = samples[-2], samples[-1]
    return count((of(newer.totals) - of(older.totals)) / (newer.at - older.at))
