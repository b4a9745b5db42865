"""What top shows for given samples, on narrow and wide terminals."""

import dataclasses
import io
import math
from decimal import Decimal
from typing import Any

import pytest
from rich.console import Console

from pgbourse.top.samples import DatabaseSample, GatewaySample, Market, Sessions, Totals
from pgbourse.top.screen import History, quantile, render

MARKET = Market("SPY", 20, 10, Decimal(500), Decimal("99.5"), Decimal(7), Decimal("100.25"), Decimal(9),
                Decimal("0.75"), False, 0, None)  # fmt: skip
TOTALS = Totals(1000, 500, 100, 1, 900, 100, 5.0, 1e6, 1234, 56)
SESSIONS = Sessions(0, 0, 0.005, None)
GATEWAY = GatewaySample(0.0, {"place_order": 100.0}, 0.0, ((0.001, 0.0), (0.01, 0.0), (math.inf, 0.0)),
                        0.0, 0.0, 32.0, 7.0, False)  # fmt: skip


def history(*markets: Market, sessions: Sessions = SESSIONS) -> History:
    """Two looks, two seconds apart: 3,000 orders, a rollback, a core busy, 200 requests."""
    later = dataclasses.replace(
        TOTALS, orders=4000, executions=1500, rollbacks=3, blocks_hit=1890, blocks_read=110,
        active_seconds=7.5, wal_bytes=5e6,
    )  # fmt: skip
    result = History()
    result.database.append(DatabaseSample(10.0, TOTALS, SESSIONS, None, ()))
    result.database.append(DatabaseSample(12.0, later, sessions, 10.0, markets or (MARKET,)))
    result.gateway.append(GATEWAY)
    result.gateway.append(
        dataclasses.replace(
            GATEWAY, at=2.0, requests={"place_order": 290.0, "query_order": 10.0}, refused=50.0,
            latency=((0.001, 50.0), (0.01, 100.0), (math.inf, 100.0)), batches=10.0, batched_documents=125.0,
        )
    )  # fmt: skip
    return result


def draw(history: History, width: int = 80, height: int = 24) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height, color_system=None)
    screen = render(history, title="pgbourse on this machine", clock="12:34:56", width=width, height=height)
    console.print(screen)
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().rstrip().splitlines()]


def figures(lines: list[str]) -> dict[str, str]:
    """The names and figures in the panels."""
    cells = [cell.strip() for line in lines for cell in line.split("│") if "  " in cell.strip()]
    return {name: value.strip() for name, _, value in (cell.partition("  ") for cell in cells)}


@pytest.mark.parametrize("width", [80, 200])
def test_the_figures(width: int) -> None:
    shown = figures(draw(history(), width))
    wanted = {
        "orders/s": "1,500", "fills/s": "500", "open orders": "1,234", "unsettled": "56", "commits/s": "0",
        "requests/s": "100", "refused": "25.0 %", "p50": "1.0 ms", "p99": "9.8 ms", "batch": "12.5 docs",
        "queue": "7", "connections": "32",
        "load": "1.25", "lock wait": "none", "oldest tx": "5.0 ms", "idle in tx": "0", "rollbacks/s": "1",
        "cache hits": "99.0 %", "WAL": "2.0 MB/s",
    }  # fmt: skip
    assert {name: shown.get(name) for name in wanted} == wanted


def test_figures_are_whole_on_a_narrow_terminal() -> None:
    panels = " ".join(line for line in draw(history(), 60) if "│" in line)
    for figure in ("1,500", "1,234", "25.0 %", "12.5 docs", "99.0 %", "2.0 MB/s"):
        assert f" {figure} │" in panels
    assert "cache … " in panels  # names give way


def test_a_market_at_80_columns() -> None:
    lines = draw(history())
    heading = "symbol bid ask spread orders/s fills/s waiting"
    assert heading.split() in [line.split() for line in lines]
    assert lines[-1].split() == ["SPY", "99.50", "100.25", "0.75", "10", "5"]


def test_a_market_at_200_columns() -> None:
    lines = draw(history(), 200)
    heading = "symbol bid size bid ask ask size spread orders/s fills/s shares/s waiting"
    assert heading.split() in [line.split() for line in lines]
    assert lines[-1].split() == ["SPY", "7", "99.50", "100.25", "9", "0.75", "10", "5", "250"]


@pytest.mark.parametrize("width", [42, 50, 57, 58, 60, 79, 80, 119, 120, 200])
def test_a_symbol_has_room_for_its_name(width: int) -> None:
    lines = draw(history(dataclasses.replace(MARKET, sym="LONGSYM")), width)
    assert {"LONGSYM", "99.50", "100.25"} <= set(lines[-1].split())
    headings = next(line.split() for line in lines if line.split()[:1] == ["symbol"])
    assert headings[-1] == "waiting"
    assert len(lines[-1]) <= width


def test_a_market_at_60_columns() -> None:
    lines = draw(history(), 60)
    assert ["symbol", "bid", "ask", "orders/s", "waiting"] in [line.split() for line in lines]
    assert lines[-1].split() == ["SPY", "99.50", "100.25", "10"]


def test_symbols_for_which_there_is_no_line_are_counted() -> None:
    markets = [dataclasses.replace(MARKET, sym=f"S{i}") for i in range(30)]
    lines = draw(history(*markets), 80, 24)
    assert [line.split()[0] for line in lines[-10:]] == [*(f"S{i}" for i in range(9)), "21"]
    assert lines[-1] == " 21 more"
    assert draw(history(*markets[:10]), 80, 24)[-1].split()[0] == "S9"


@pytest.mark.parametrize("width", [40, 80, 120, 200])
@pytest.mark.parametrize("height", [10, 24, 50])
def test_it_fits_the_terminal(width: int, height: int) -> None:
    markets = [dataclasses.replace(MARKET, sym=f"{'LONG' * 60}{i}", bid=Decimal("1e17")) for i in range(100)]
    lines = draw(history(*markets), width, height)
    assert max(map(len, lines)) <= width
    assert len(lines) <= max(height, 13)  # the panels and a heading are always there


def test_what_is_wrong_is_told() -> None:
    sessions = Sessions(3, 1, 4000.0, 2.5)
    waiting = dataclasses.replace(MARKET, sym="X", waiters=2, longest_wait=1.25)
    halted = dataclasses.replace(MARKET, halted=True, bid=None, spread=None)
    lines = draw(history(waiting, halted, sessions=sessions))
    shown = figures(lines)
    assert (shown["lock wait"], shown["oldest tx"], shown["idle in tx"]) == ("2.5 s (3)", "1 h", "1")
    assert lines[-2].split() == ["X", "99.50", "100.25", "0.75", "10", "5", "1.2", "s", "(2)"]
    assert lines[-1].split() == ["SPY", "-", "100.25", "-", "10", "5", "halted"]


def test_who_holds_something_for_long_is_told() -> None:
    shown = history()
    latest = shown.database.pop()
    shown.database.append(dataclasses.replace(latest, held="pid 1 (psql, alice) has held symbol X"))
    assert " pid 1 (psql, alice) has held symbol X" in draw(shown)
    assert len(draw(shown, 40, 13)) <= 14


def test_problems_stand_where_the_figures_would() -> None:
    nothing = History(database_problem="can't reach the database", gateway_problem="no metrics")
    text = "\n".join(draw(nothing))
    assert "can't reach the database" in text
    assert "no metrics" in text
    assert text.count("no figures yet") == 2


def test_a_symbol_is_no_markup() -> None:
    assert draw(history(dataclasses.replace(MARKET, sym="[red]X")))[-1].startswith(" [red]X")


def latency(*counts: float) -> GatewaySample:
    bounds = (0.001, 0.01, math.inf)
    return dataclasses.replace(GATEWAY, latency=tuple(zip(bounds, counts, strict=True)))


@pytest.mark.parametrize(
    ("counts", "part", "seconds"),
    [
        ((0, 100, 100), 0.5, 0.0055),
        ((100, 100, 100), 0.5, 0.0005),
        ((50, 100, 100), 0.5, 0.001),
        ((0, 0, 100), 0.5, math.inf),
        ((0, 0, 0), 0.5, None),
    ],
)
def test_a_quantile_lies_within_its_bucket(counts: Any, part: float, seconds: float | None) -> None:
    found = quantile(latency(0, 0, 0), latency(*counts), part)
    assert found == (None if seconds is None else pytest.approx(seconds))


def test_a_quantile_is_of_what_came_between() -> None:
    assert quantile(latency(100, 100, 100), latency(100, 200, 200), 0.5) == pytest.approx(0.0055)


def test_a_gateway_that_started_again_has_no_rates_below_zero() -> None:
    older, newer = history().gateway
    again = history()
    again.gateway.extend((newer, older))  # its counters begin anew
    assert "-" not in [figures(draw(again))[name] for name in ("requests/s",)]
    assert figures(draw(again))["p99"] == "-"
