"""What book and account show, as text, on a terminal of a given width, and as JSON."""

import dataclasses
import io
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from rich.console import Console

from pgbourse.client import Account, Book, Level, OpenOrder, Position
from pgbourse.look.sheets import Sheet, aligned, plain, rich_table
from pgbourse.look.views import account_json, account_sheet, as_json, book_sheet

AT = datetime(2026, 11, 27, 12, 30, 15, tzinfo=UTC)
BOOK = Book(
    "SPY", 812,
    (Level(Decimal("145.5"), Decimal(300), 4), Level(Decimal("145"), Decimal("2.25"), 1)),
    (Level(Decimal("145.625"), Decimal(80), 2),),
)  # fmt: skip
ACCOUNT = Account(
    Decimal("854.33"), Decimal("145.67"),
    (Position("SPY", Decimal(80), Decimal(20)), Position("X", Decimal("0.5"), Decimal(0))),
)  # fmt: skip
ORDER = OpenOrder(18, "SPY", Decimal(-50), Decimal("145.5"), Decimal(20), "a7", AT)


@pytest.fixture(autouse=True)
def _in_utc(monkeypatch: pytest.MonkeyPatch) -> Any:
    import time

    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def on_a_terminal(sheet: Sheet, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    for grid in sheet.grids:
        console.print(rich_table(grid))
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_a_book_as_text() -> None:
    assert plain(book_sheet(BOOK)).splitlines() == [
        "SPY, change 812, spread 0.125",
        "orders  shares    bid      ask  shares  orders",
        "     4  300     145.5  145.625      80       2",
        "     1    2.25  145          -       -       -",
    ]


def test_what_is_halted_or_empty_says_so() -> None:
    halted = dataclasses.replace(BOOK, bids=(), asks=(), halted=True)
    assert plain(book_sheet(halted)) == "SPY, change 812, no open orders, halted"
    one_side = dataclasses.replace(BOOK, bids=())
    assert plain(book_sheet(one_side)).splitlines()[0] == "SPY, change 812"


def test_a_book_on_a_terminal() -> None:
    lines = on_a_terminal(book_sheet(BOOK), 60)
    assert [line.split() for line in lines if line.strip(" ─")] == [
        ["orders", "shares", "bid", "ask", "shares", "orders"],
        ["4", "300", "145.5", "145.625", "80", "2"],
        ["1", "2.25", "145"],
    ]


@pytest.mark.parametrize("width", [30, 40, 80])
def test_no_figure_is_cut_short(width: int) -> None:
    long = Level(Decimal("123456789012345678.12345678901234567891"), Decimal("9" * 18), 10)
    lines = on_a_terminal(book_sheet(dataclasses.replace(BOOK, bids=(long,), asks=())), width)
    assert max(map(len, lines)) <= width
    digits = "".join(
        character for line in lines for character in line if character.isdigit() or character == "."
    )
    assert sorted(digits) == sorted(f"{long.price}{long.shares}{long.orders}")


def test_numbers_are_aligned_at_the_point() -> None:
    values = [Decimal("1"), Decimal("10.25"), None, Decimal("1E+3"), Decimal("0.5")]
    assert aligned(values) == ["1   ", "10.25", "", "1000   ", "0.5 "]
    assert aligned([Decimal(1), Decimal(20)]) == ["1", "20"]


def test_an_account_as_text() -> None:
    assert plain(account_sheet("1", ACCOUNT, [ORDER])).splitlines() == [
        "account 1",
        "holding  available  reserved",
        "cash        854.33    145.67",
        "SPY          80        20",
        "X             0.5       0",
        "order  symbol  side  shares  open  limit  since                ref",
        "   18  SPY     sell      50    20  145.5  2026-11-27 12:30:15  a7",
    ]


def test_an_account_whose_switch_is_armed_says_so() -> None:
    armed = dataclasses.replace(ACCOUNT, armed=AT)
    told = "account 1: all its orders are cancelled at 2026-11-27 12:30:15"
    assert plain(account_sheet("1", armed)).splitlines()[0] == told


def test_what_a_server_sends_can_not_move_the_cursor() -> None:
    bad = dataclasses.replace(ORDER, ref="\x1b[2J", sym="a\nb")
    text = plain(account_sheet("\x1b", ACCOUNT, [bad]))
    assert "\x1b" not in text
    assert len(text.splitlines()) == 7
    assert "\x1b" not in "\n".join(on_a_terminal(account_sheet("1", ACCOUNT, [bad]), 100))
    assert "[red]" in "\n".join(
        on_a_terminal(account_sheet("1", ACCOUNT, [dataclasses.replace(ORDER, ref="[red]")]), 100)
    )


def test_json_is_exact() -> None:
    assert json.loads(as_json(BOOK)) == {
        "sym": "SPY",
        "seq": 812,
        "bids": [
            {"price": "145.5", "shares": "300", "orders": 4},
            {"price": "145", "shares": "2.25", "orders": 1},
        ],
        "asks": [{"price": "145.625", "shares": "80", "orders": 2}],
        "halted": False,
    }
    assert json.loads(account_json("1", dataclasses.replace(ACCOUNT, armed=AT), [ORDER])) == {
        "account": "1",
        "cash": "854.33",
        "reserved": "145.67",
        "positions": [
            {"sym": "SPY", "shares": "80", "reserved": "20"},
            {"sym": "X", "shares": "0.5", "reserved": "0"},
        ],
        "armed": "2026-11-27T12:30:15Z",
        "orders": [
            {
                "order_id": 18,
                "sym": "SPY",
                "amount": "-50",
                "limit": "145.5",
                "open_shares": "20",
                "ref": "a7",
                "at": "2026-11-27T12:30:15Z",
            }
        ],
    }
    assert "orders" not in json.loads(account_json("1", ACCOUNT))
