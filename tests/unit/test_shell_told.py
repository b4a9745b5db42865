"""What the shell says of each result."""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from pgbourse.client import (
    Canceled,
    CanceledAll,
    Cancellation,
    Created,
    Disarmed,
    Execution,
    Opened,
    Orders,
    Reduced,
    Refused,
    Result,
    Server,
    Status,
)
from pgbourse.look.sheets import plain
from pgbourse.look.shell import Dropped, entries
from pgbourse.look.told import tell, tell_all

AT = datetime(2026, 11, 27, 12, 30, 15, tzinfo=UTC)
D = Decimal
FILL = Execution(D(20), D("145.5"), AT)
FILLS = (FILL, Execution(D("2.5"), D(146), AT))


@pytest.mark.parametrize(
    ("result", "told"),
    [
        (Opened(5, "SPY", D(100), D("145.5")), "order 5: buy 100 SPY @ 145.5"),
        (Opened(5, "SPY", D(-100), None, type="market", executed=D(60), canceled=D(40)),
         "order 5: sell 100 SPY @ market, 60 filled, 40 cancelled"),
        (Opened(5, "SPY", D(1), D(1), replaced=3, released=D(2), passed=(7, 8), duplicate=True),
         "order 5: buy 1 SPY @ 1, in place of order 3, own orders cancelled: 7, 8, placed before"),
        (Status(5, D(80), None, (FILL,)), "order 5: 80 open, 20 filled @ 145.5"),
        (Status(5, D(0), Cancellation(D(3), AT), (), (Cancellation(D(1), AT), Cancellation(D(4), AT)), "a7"),
         "order 5 (a7): 0 open, 5 reduced, 3 cancelled"),
        (Canceled(5, Cancellation(D(80), AT), (FILL,)), "order 5: 80 cancelled, 20 filled @ 145.5"),
        (Reduced(5, D(20), D(30)), "order 5: 20 cancelled, 30 open"),
        (CanceledAll({}), "0 orders cancelled"),
        (Disarmed(), "nothing is cancelled by itself any more"),
        (Orders(()), "0 open orders"),
        (Orders((), more=True), "0 open orders, and more"),
        (Created(account_id="2"), "account 2 made"),
        (Created(sym="SPY"), "symbol SPY is there"),
        (Created(sym="SPY", account_id="2"), "account 2 has been given shares of SPY"),
        (Server("1.0", frozenset({"tif", "ref"})), "pgbourse 1.0 knows ref, tif"),
        (Server(None, frozenset()), "an older server"),
        (Refused("no"), "refused: no"),
    ],
)  # fmt: skip
def test_a_line_for_a_result(result: Result, told: str) -> None:
    assert plain(tell(result, "1")) == told


def test_several_fills_and_orders_are_tables() -> None:
    lines = plain(tell(Status(5, D(0), None, FILLS), "1")).splitlines()
    assert lines[0] == "order 5: 0 open, 22.5 filled in 2 fills"
    assert [line.split()[:2] for line in lines[1:]] == [["shares", "price"], ["20", "145.5"], ["2.5", "146"]]
    lines = plain(tell(CanceledAll({5: D(10), 9: D("0.5")}), "1")).splitlines()
    assert [line.split() for line in lines[1:]] == [["order", "shares"], ["5", "10"], ["9", "0.5"]]


def test_an_order_and_what_became_of_it_are_one() -> None:
    opened = Opened(5, "SPY", D(100), D(146), ref="r.1")
    status = Status(5, D(80), None, (FILL,), (), "r.1")
    (sheet,) = tell_all([opened, status], "1")
    assert plain(sheet) == "order 5: buy 100 SPY @ 146, 20 filled @ 145.5, 80 open"
    (refused,) = tell_all([Refused("no", {"ref": "r.1"}), Refused("no such order: r.1", {"ref": "r.1"})], "1")
    assert plain(refused) == "refused: no"
    # Under a ref that was another order's, that is none of what was asked.
    (refused,) = tell_all([Refused("r.1 is order 5 already", {"ref": "r.1"}), status], "1")
    assert plain(refused) == "refused: r.1 is order 5 already"
    assert len(tell_all([opened, Status(6, D(1), None, (), (), "r.2")], "1")) == 2
    assert len(tell_all([Refused("a"), Refused("b")], "1")) == 2


def test_entries_are_lines_or_whole_documents() -> None:
    typed: Iterator[str | BaseException] = iter(
        ["buy", "<create>", Dropped(), "account", "<a>", "</a>", "", "<b>", EOFError()]
    )
    asked = []

    def read_line(goes_on: bool) -> str:
        asked.append(goes_on)
        line = next(typed)
        if isinstance(line, BaseException):
            raise line
        return line

    assert list(entries(read_line)) == ["buy", "account", "<a>\n</a>", "", "<b>"]
    assert asked == [False, False, True, False, False, True, False, False, True]
