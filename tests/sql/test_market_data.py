"""What SQL tells whoever looks at the market: trades, bars, where each symbol stands; never an account."""

from __future__ import annotations

import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.sql.market import Market, Request, Said
from tests.sql.mutants import Mutant, install


@pytest.fixture
def traders(market: Market) -> Market:
    """Accounts 1 to 4, with money and shares of X and Y."""
    for account in "1234":
        market.account(account, 10**6)
        for sym in ("X", "Y"):
            market.grant(account, sym, 10**4)
    return market


def rows(market: Market, query: str, *arguments: object) -> list[tuple[Any, ...]]:
    return market.connection.execute(query.encode(), arguments or None).fetchall()


def trade(market: Market, sym: str, shares: object, price: object) -> None:
    """Let account 2 buy of account 1."""
    market.place("1", sym, f"-{shares}", price)
    market.place("2", sym, shares, price)


TAPE = (
    "select taker_side::text, shares::text, price::text, buy_order_id, sell_order_id "
    "from exchange.tape(%s, %s)"
)


def test_the_tape_tells_the_newest_trades_first(traders: Market) -> None:
    traders.place("1", "X", "-5.50", "2.50")
    traders.place("1", "X", -5, 3)
    trade(traders, "Y", 1, 9)
    traders.place("2", "X", 8, 4)
    traders.place("3", "X", 4, 1)
    traders.place("4", "X", -1, 1)
    assert rows(traders, TAPE, "X", 100) == [
        ("sell", "1", "1", 6, 7),
        ("buy", "2.5", "3", 5, 2),
        ("buy", "5.5", "2.5", 5, 1),
    ]
    assert rows(traders, TAPE, "X", 2) == rows(traders, TAPE, "X", None)[:2]
    assert rows(traders, TAPE, "Y", 100) == [("buy", "1", "9", 4, 3)]
    assert rows(traders, TAPE, "Z", 100) == []


def test_the_tape_tells_what_executions_say(varied: Market) -> None:
    for sym in ("S1", "S2"):
        told = rows(varied, "select execution_id, executed_at, shares, price from exchange.tape(%s, 7)", sym)
        kept = rows(
            varied,
            "select execution_id, executed_at, shares, price from exchange.executions "
            "inner join exchange.symbols using (symbol_key) where sym = %s "
            "order by execution_id desc limit 7",
            sym,
        )
        assert len(kept) == 7
        assert told == kept


MARKET = (
    "select sym, halted, last_price::text, reference_price::text, bid::text, ask::text from exchange.market()"
)


def test_the_market_is_a_row_for_each_symbol(traders: Market) -> None:
    traders.place("1", "X", 10, "5.50")
    assert rows(traders, MARKET) == [
        ("X", False, None, None, "5.5", None),
        ("Y", False, None, None, None, None),
    ]
    traders.batch(
        [
            Request("place_order", "2", "X", "-4", "5"),
            Request("place_order", "2", "X", "-1", "6.0"),
            Request("place_order", "3", "X", "7", "6"),
        ]
    )
    traders.connection.execute("select exchange.halt_symbol('Y')")
    assert rows(traders, MARKET) == [
        ("X", False, "6", "6", "6", None),
        ("Y", True, None, None, None, None),
    ]
    newest = "select seq, last_at from exchange.market() where sym = 'X'"
    assert rows(traders, newest) == [
        (2, rows(traders, "select max(executed_at) from exchange.executions")[0][0])
    ]
    traders.place("3", "X", 1, 1)
    traders.cancel("1", 1)
    assert rows(traders, newest)[0][0] == 4
    assert (
        rows(traders, newest)[0][1] == rows(traders, "select max(executed_at) from exchange.executions")[0][0]
    )
    assert rows(traders, MARKET)[0] == ("X", False, "6", "6", "6", None)


def test_phases_of_a_batch_have_one_last_price(traders: Market) -> None:
    batch = [
        Request("place_order", "1", "X", "-4", "5"),
        Request("place_order", "2", "X", "4", "5"),
        Request("cancel_order", "2", order_id=99),
        Request("place_order", "1", "X", "-2", "7"),
        Request("place_order", "2", "X", "1", "7"),
        Request("cancel_order", "1", order_id=3),
    ]
    traders.batch(batch)
    assert rows(traders, MARKET)[0] == ("X", False, "7", "7", None, None)
    assert rows(traders, "select seq from exchange.market() where sym = 'X'") == [(1,)]


def test_prices_are_compared_with_the_earliest_that_updates_tell(traders: Market) -> None:
    trade(traders, "X", 1, 5)
    trade(traders, "X", 1, 6)
    trade(traders, "X", 1, 7)
    assert rows(traders, MARKET)[0][2:4] == ("7", "5")
    # The fourth update was the second trade.
    for seq, reference in ((3, "5"), (4, "6"), (5, "6"), (6, "7")):
        traders.connection.execute("delete from exchange.updates where seq < %s", [seq])
        assert rows(traders, MARKET)[0][2:4] == ("7", reference)
    trade(traders, "X", 1, 8)
    assert rows(traders, MARKET)[0][2:4] == ("8", "7")


def test_the_best_have_been_so_since(traders: Market) -> None:
    since = (
        "select (select seq from exchange.updates where updated_at = bid_since), "
        "(select seq from exchange.updates where updated_at = ask_since), last_price, last_at "
        "from exchange.best_bid_ask where sym = 'X'"
    )
    assert rows(traders, since) == [(None, None, None, None)]
    traders.place("1", "X", 5, 5)
    traders.place("1", "X", -5, 9)
    assert rows(traders, since)[0][:2] == (1, 2)
    traders.place("2", "X", 5, 6)
    traders.place("2", "X", 5, 4)
    assert rows(traders, since)[0][:2] == (3, 2)
    traders.place("2", "X", -5, 6)
    at = rows(traders, "select executed_at from exchange.executions")[0][0]
    assert rows(traders, since) == [(5, 2, 6, at)]


def at(market: Market, times: list[str]) -> None:
    """Let the executions of X have happened at these times, in their order."""
    market.connection.execute(
        "update exchange.executions set executed_at = (%s::timestamptz[])[place] from ("
        "select execution_id, row_number() over (order by execution_id) as place from exchange.executions "
        "inner join exchange.symbols using (symbol_key) where sym = 'X') as numbered "
        "where executions.execution_id = numbered.execution_id",
        [times],
    )


BARS = (
    "select to_char(began_at, 'DD HH24:MI'), open::text, high::text, low::text, close::text, "
    "volume::text, value::text, trades from exchange.bars(%s, %s, %s, %s)"
)


@pytest.fixture
def traded(traders: Market) -> Market:
    """X at 5, 7, 4, 6 within an hour, then 8 and 9.5 later; with something of Y in between."""
    traders.connection.execute("set timezone = 'UTC'")
    for shares, price in (("1", 5), ("2", 7), ("1.5", 4), ("1", 6), ("1", 8), ("1.0", "9.50")):
        trade(traders, "X", shares, price)
        trade(traders, "Y", 1, 100)
    at(
        traders,
        [
            "2026-03-02 10:00",
            *["2026-03-02 10:20"] * 2,
            "2026-03-02 10:59:59.999999",
            "2026-03-02 12:00",
            "2026-03-03 00:00",
        ],
    )
    return traders


def test_bars_are_what_was_traded_in_each_interval(traded: Market) -> None:
    hours = [
        ("02 10:00", "5", "7", "4", "6", "5.5", "31", 4),
        ("02 12:00", "8", "8", "8", "8", "1", "8", 1),
        ("03 00:00", "9.5", "9.5", "9.5", "9.5", "1", "9.5", 1),
    ]
    assert rows(traded, BARS, "X", "1 hour", None, None) == hours
    assert rows(traded, BARS, "X", "1 day", None, None) == [
        ("02 00:00", "5", "8", "4", "8", "6.5", "39", 5),
        ("03 00:00", "9.5", "9.5", "9.5", "9.5", "1", "9.5", 1),
    ]
    assert rows(traded, BARS, "X", "7 days", None, None) == [
        ("02 00:00", "5", "9.5", "4", "9.5", "7.5", "48.5", 6)
    ]
    assert rows(traded, BARS, "Z", "1 hour", None, None) == []


def test_bars_are_whole_whatever_is_asked_for(traded: Market) -> None:
    first, noon, midnight = rows(traded, BARS, "X", "1 hour", None, None)

    def told(begins: str | None, ends: str | None) -> list[tuple[Any, ...]]:
        return rows(traded, BARS, "X", "1 hour", begins, ends)

    assert told("2026-03-02 10:59", "2026-03-02 11:00") == [first]
    assert told("2026-03-02 10:30", "2026-03-02 10:40") == [first]
    assert told("2026-03-02 11:00", "2026-03-02 12:00") == []
    assert told("2026-03-02 11:00", "2026-03-02 12:00:00.000001") == [noon]
    assert told("2026-03-02 11:00", None) == [noon, midnight]
    assert told(None, "2026-03-03 00:00") == [first, noon]
    assert told("infinity", None) == told(None, "-infinity") == []


def manual(after: str) -> str:
    """Return the query of docs/market-data.md that follows these words."""
    page = (Path(__file__).parents[2] / "docs" / "market-data.md").read_text()
    return page.split(after, 1)[1].split("```sql\n", 1)[1].split("```", 1)[0].rstrip().rstrip(";")


def test_the_manuals_query_adds_up_what_was_traded_in_a_day(traded: Market) -> None:
    day = manual("The last 24 hours, to the minute:")
    # The trades of X are long ago; only its updates, which the fixture leaves alone, are of today.
    assert rows(traded, f"{day} order by sym") == [("X", None, None, None), ("Y", 6, 600, 6)]
    trade(traded, "X", "2.5", "4")
    assert rows(traded, f"{day} order by sym") == [("X", Decimal("2.5"), 10, 1), ("Y", 6, 600, 6)]


def test_the_manuals_query_has_bars_without_trades(traded: Market) -> None:
    minutes = rows(traded, manual("join the times:").replace("'SPY'", "'Y'"))
    assert len(minutes) == 61
    assert sum(volume for _, volume, _ in minutes) == 6


def test_days_and_weeks_begin_where_the_session_is(traded: Market) -> None:
    traded.connection.execute("set timezone = 'Pacific/Auckland'")
    assert [row[0] for row in rows(traded, BARS, "X", "1 day", None, None)] == ["02 00:00", "03 00:00"]
    assert [row[7] for row in rows(traded, BARS, "X", "1 day", None, None)] == [4, 2]
    assert rows(traded, "select extract(isodow from began_at) from exchange.bars('X', '1 week')") == [(1,)]


@pytest.mark.parametrize("interval", ["1 month", "1 year", "0", "-1 hour"])
def test_an_interval_that_is_none_is_an_error(traded: Market, interval: str) -> None:
    with pytest.raises(psycopg.Error):
        rows(traded, BARS, "X", interval, None, None)


def test_bars_of_a_moment_are_its_trades(varied: Market) -> None:
    """The smallest bars together are the largest one, and all that was traded."""
    summed = (
        "select sum(volume), sum(value), sum(trades), max(high), min(low), "
        "(array_agg(open order by began_at))[1], (array_agg(close order by began_at desc))[1] "
        "from exchange.bars('S1', %s)"
    )
    small, large = (rows(varied, summed, interval) for interval in ("1 microsecond", "10000 days"))
    assert small == large
    kept = (
        "select sum(shares), sum(shares * price), count(*), max(price), min(price), "
        "(array_agg(price order by execution_id))[1], (array_agg(price order by execution_id desc))[1] "
        "from exchange.executions inner join exchange.symbols using (symbol_key) where sym = 'S1'"
    )
    assert large == rows(varied, kept)


def test_the_last_price_is_that_of_the_tape(traders: Market) -> None:
    chance = random.Random(3)
    for count in (1, 7, 30, 1, 1, 7):
        traders.batch(
            [
                Request(
                    "place_order",
                    chance.choice("1234"),
                    chance.choice("XY"),
                    str(chance.choice([1, -1]) * chance.randint(1, 9)),
                    str(chance.randint(4, 7)),
                    said=Said(stp=chance.choice([None, "taker", "maker", "both"])),
                )
                for _ in range(count)
            ]
        )
        for sym in ("X", "Y"):
            told = "select last_price, last_at from exchange.market() where sym = %s and last_at is not null"
            assert rows(traders, told, sym) == rows(
                traders, "select price, executed_at from exchange.tape(%s, 1)", sym
            )


MUTANTS = {
    "the last price is the first": (
        Mutant(
            "write_updates",
            "begin perform {call}; update exchange.updates set last_price = coalesce((select price "
            "from unnest(events) with ordinality where kind = 'trade' order by ordinality limit 1), "
            "last_price) where transaction_id = pg_current_xact_id(); end",
        ),
        test_the_last_price_is_that_of_the_tape,
    ),
    "a later phase forgets the last price": (
        Mutant(
            "write_updates",
            "begin update exchange.updates set last_price = null "
            "where transaction_id = pg_current_xact_id(); perform {call}; end",
        ),
        test_phases_of_a_batch_have_one_last_price,
    ),
    "the oldest trade comes first": (
        Mutant("tape", "begin return query select * from {call} order by execution_id; end"),
        test_the_tape_tells_the_newest_trades_first,
    ),
    "who rested is the taker": (
        Mutant(
            "tape",
            "begin return query select execution_id, executed_at, "
            "case taker_side when 'buy' then 'sell' else 'buy' end::exchange.side, "
            "shares, price, buy_order_id, sell_order_id from {call}; end",
        ),
        test_the_tape_tells_the_newest_trades_first,
    ),
    "the tape is one longer": (
        Mutant("tape", "begin p_most := p_most + 1; return query select * from {call}; end"),
        test_the_tape_tells_the_newest_trades_first,
    ),
    "prices are compared with the last one": (
        Mutant(
            "market",
            "begin return query select sym, halted, seq, last_price, last_at, last_price, bid, ask "
            "from {call}; end",
        ),
        test_prices_are_compared_with_the_earliest_that_updates_tell,
    ),
    "nothing is halted": (
        Mutant(
            "market",
            "begin return query select sym, false, seq, last_price, last_at, reference_price, bid, ask "
            "from {call}; end",
        ),
        test_the_market_is_a_row_for_each_symbol,
    ),
    "what is no trade has a price too": (
        Mutant(
            "write_updates",
            "begin perform {call}; update exchange.updates set last_at = updated_at "
            "where transaction_id = pg_current_xact_id(); end",
        ),
        test_the_market_is_a_row_for_each_symbol,
    ),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_is_found(traders: Market, mutant: str) -> None:
    fault, test = MUTANTS[mutant]
    install(traders.connection, fault)
    with pytest.raises((AssertionError, psycopg.Error)):
        test(traders)


BAR_MUTANTS = {
    "a bar that is asked for in part is left out": (
        Mutant(
            "bars", "begin return query select * from {call} where p_from is null or began_at >= p_from; end"
        ),
        test_bars_are_whole_whatever_is_asked_for,
    ),
    "the end counts": (
        Mutant(
            "bars", "begin p_to := p_to + interval '1 microsecond'; return query select * from {call}; end"
        ),
        test_bars_are_whole_whatever_is_asked_for,
    ),
    "the last price comes first": (
        Mutant(
            "bars",
            "begin return query select began_at, close, high, low, open, volume, value, trades "
            "from {call}; end",
        ),
        test_bars_are_what_was_traded_in_each_interval,
    ),
    "days are those of another place": (
        Mutant("bars", "begin set local timezone = 'UTC'; return query select * from {call}; end"),
        test_days_and_weeks_begin_where_the_session_is,
    ),
    "all symbols are one": (
        Mutant(
            "bars",
            "begin update exchange.executions set symbol_key = (select symbol_key from exchange.symbols "
            "where sym = p_sym); return query select * from {call}; end",
        ),
        test_bars_are_what_was_traded_in_each_interval,
    ),
}


@pytest.mark.parametrize("mutant", BAR_MUTANTS)
def test_a_mutant_of_bars_is_found(traded: Market, mutant: str) -> None:
    fault, test = BAR_MUTANTS[mutant]
    install(traded.connection, fault)
    with pytest.raises((AssertionError, psycopg.Error)):
        test(traded)
