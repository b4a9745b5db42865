"""The views of a DBA: each tells what the tables say in another way, so each is held against the others."""

import random
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from tests.sql.market import Connection, Market, Request, Said, meeting, until_blocked

VIEWS = (
    "select relname from pg_class where relnamespace = 'exchange'::regnamespace and relkind = 'v' order by 1"
)
ACCOUNTS = ("1", "2", "3")


@pytest.fixture
def traded(market: Market) -> Market:
    """A market after some hundred orders and cancels of three accounts in two symbols."""
    draw = random.Random(6)
    for account in ACCOUNTS:
        market.account(account, 5000)
        for sym in ("X", "Y"):
            market.grant(account, sym, "100.5")
    placed = []
    for _ in range(300):
        account = draw.choice(ACCOUNTS)
        amount = draw.choice((-1, 1)) * Decimal(draw.randint(1, 400)) / 10
        order_id, _ = market.try_place(
            account, draw.choice("XY"), amount, Decimal(draw.randint(90, 110)) / 10
        )
        if order_id is not None:
            placed.append((account, order_id))
        if draw.random() < 0.1 and placed:
            market.cancel(*draw.choice(placed))
    assert market.violations() == []
    return market


def rows(connection: Connection, query: str) -> list[Any]:
    return connection.execute(query.encode()).fetchall()


def test_statements_end_at_the_balances(traded: Market) -> None:
    last = rows(
        traded.connection,
        "select distinct on (account_id) account_id, cash from exchange.account_statement "
        "order by account_id, entry desc",
    )
    assert len(last) == len(ACCOUNTS)
    balances = "select account_id, cash from exchange.account_balances order by 1"
    assert last == rows(traded.connection, balances)
    last = rows(
        traded.connection,
        "select distinct on (account_id, sym) account_id, sym, shares from exchange.account_statement "
        "where sym is not null order by account_id, sym, entry desc",
    )
    positions = "select account_id, sym, shares from exchange.account_positions order by 1, 2"
    assert last == rows(traded.connection, positions)


def test_statements_never_show_a_debt(traded: Market) -> None:
    entries = rows(
        traded.connection,
        "select cause, cash, shares, cash_change, shares_change from exchange.account_statement",
    )
    causes = {entry[0] for entry in entries}
    assert causes == {"deposit", "grant", "reserve", "bought", "sold", "cancel"}
    assert min(entry[1] for entry in entries) >= 0
    assert min(entry[2] for entry in entries if entry[2] is not None) >= 0
    # Price improvement is an entry of cash beside the shares.
    improved = [entry for entry in entries if entry[0] == "bought" and entry[3] is not None]
    assert improved
    assert min(entry[3] for entry in improved) > 0


def test_a_statement_adds_up_line_by_line(traded: Market) -> None:
    cash = Decimal(0)
    shares = {"X": Decimal(0), "Y": Decimal(0)}
    query = (
        "select entry, sym, cash_change, cash, shares_change, shares from exchange.account_statement "
        "where account_id = '2' order by entry"
    )
    for place, (entry, sym, cash_change, running_cash, shares_change, running_shares) in enumerate(
        rows(traded.connection, query), 1
    ):
        cash += cash_change or 0
        assert (entry, running_cash) == (place, cash)
        if sym is not None:
            shares[sym] += shares_change or 0
            assert (running_shares or 0) == shares[sym]


def test_statements_know_every_kind_of_order(varied: Market) -> None:
    """Also that of a market order, of which only the budget bounds what it costs."""
    test_statements_end_at_the_balances(varied)
    entries = rows(
        varied.connection, "select cause, cash, shares, cash_change, ref from exchange.account_statement"
    )
    assert {entry[0] for entry in entries} == {
        "deposit", "grant", "reserve", "bought", "sold", "unspent", "cancel", "reduce"
    }  # fmt: skip
    assert min(entry[1] for entry in entries) >= 0
    assert min(entry[2] for entry in entries if entry[2] is not None) >= 0
    assert min(entry[3] for entry in entries if entry[0] == "unspent") > 0
    refs = "select count(distinct ref) from exchange.order_terms"
    assert rows(varied.connection, refs) == [(len({entry[4] for entry in entries} - {None}),)] > [(9,)]


def test_lives_know_every_kind_of_order(varied: Market) -> None:
    test_an_orders_life_ends_with_what_is_open(varied)
    connection = varied.connection
    events = rows(connection, "select distinct event from exchange.order_history order by 1")
    assert events == [("canceled",), ("executed",), ("placed",), ("reduced",)]
    assert rows(connection, "select from exchange.order_history where open_shares < 0") == []
    # What ended an order, and what took its place, name each other.
    ended = (
        "select count(*) from exchange.order_history where event = 'canceled' and other_order_id is not null"
    )
    enders = (
        "select count(replaced_order_id) + sum(coalesce(cardinality(passed_order_ids), 0)) "
        "from exchange.order_terms"
    )
    assert rows(connection, ended) == rows(connection, enders) > [(9,)]
    replaced = (
        "select order_id, other_order_id from exchange.order_history "
        "where event = 'placed' and other_order_id > 0"
    )
    assert rows(connection, replaced) == rows(
        connection,
        "select order_id, replaced_order_id from exchange.order_terms where replaced_order_id > 0 order by 1",
    )


def test_open_orders_show_their_refs_and_reductions(market: Market) -> None:
    market.account("1", 1000)
    market.grant("1", "X", 1)
    market.batch(
        [
            Request("place_order", "1", "X", "10", "5", said=Said(ref="a7")),
            Request("place_order", "1", "X", "10", "4"),
            Request("reduce_order", "1", amount="2", said=Said(ref="a7")),
            Request("reduce_order", "1", amount="1.5", order_id=1),
            Request("replace_order", "1", amount="9", limit="4", order_id=2, said=Said(ref="b1")),
        ]
    )
    query = (
        "select order_id, shares, open_shares, reduced_shares::text, ref, replaced_order_id "
        "from exchange.open_orders order by order_id"
    )
    assert rows(market.connection, query) == [
        (1, 10, Decimal("6.5"), "3.5", "a7", None),
        (3, 9, 9, None, "b1", 2),
    ]


def test_armed_switches_tell_what_fires_next(market: Market) -> None:
    for account in ("1", "2"):
        market.account(account, 1000)
        market.grant(account, "X", 1)
        market.place(account, "X", 1, 5)
    market.place("1", "X", 1, 4)
    query = (
        "select account_id, after_seconds, open_orders, fires_in between '50 s' and '1001 s' "
        "from exchange.armed_switches"
    )
    assert rows(market.connection, query) == []
    market.batch(
        [Request("arm_switch", "1", amount="1000"), Request("arm_switch", "2", amount="60", sequence=2)]
    )
    assert rows(market.connection, query) == [("2", 60, 1, True), ("1", 1000, 2, True)]
    market.batch([Request("disarm_switch", "2")])
    assert rows(market.connection, query) == [("1", 1000, 2, True)]


# Every later event seems to have happened a minute before the one before it.
CLOCK_RUNS_BACK = """
update exchange.deposits set deposited_at = timestamptz '2026-01-01' - deposit_id * interval '1 minute';
update exchange.orders set placed_at = timestamptz '2025-01-01' - order_id * interval '1 minute';
update exchange.executions set executed_at = timestamptz '2024-01-01' - execution_id * interval '1 minute';
update exchange.cancellations set canceled_at = timestamptz '2023-01-01' - order_id * interval '1 minute';
"""


def test_statements_and_histories_follow_events_and_not_the_clock(traded: Market) -> None:
    connection = traded.connection
    told = [
        "select account_id, entry, cause, sym, order_id, execution_id, cash, shares "
        "from exchange.account_statement",
        "select order_id, event, open_shares, execution_id from exchange.order_history",
        "select sym, bid, bid_shares, ask, ask_shares from exchange.best_bid_ask order by sym",
        "select query.* from exchange.orders inner join exchange.accounts using (account_key), "
        "lateral (select order_id, outcome, shares, price from exchange.query_order(account_id, order_id)) "
        "as query where account_id = '1'",
    ]
    before = [rows(connection, query) for query in told]
    connection.execute(CLOCK_RUNS_BACK)
    assert [rows(connection, query) for query in told] == before
    assert rows(connection, "select entry from exchange.account_statement where cash < 0 or shares < 0") == []


def test_a_statement_has_each_event_between_the_orders_that_it_came_between(market: Market) -> None:
    """Each second order needs what came in before it."""
    market.account("1", 10)
    market.grant("1", "X", 5)
    first = market.place("1", "X", 1, 10)
    market.place("1", "X", -5, 20)
    market.grant("1", "Y", 7)
    market.cancel("1", first)
    market.place("1", "X", 2, 5)
    market.place("1", "Y", -7, 20)
    market.connection.execute(CLOCK_RUNS_BACK)
    query = "select cause, sym, cash::text, shares::text from exchange.account_statement order by entry"
    assert rows(market.connection, query) == [
        ("deposit", None, "10", None),
        ("grant", "X", "10", "5"),
        ("reserve", "X", "0", "5"),
        ("reserve", "X", "0", "0"),
        ("grant", "Y", "0", "7"),
        ("cancel", "X", "10", "0"),
        ("reserve", "X", "0", "0"),
        ("reserve", "Y", "0", "0"),
    ]


def test_an_orders_life_ends_with_what_is_open(traded: Market) -> None:
    last = rows(
        traded.connection,
        "select distinct on (history.order_id) history.order_id, history.open_shares, "
        "coalesce(book.open_shares, 0) from (select *, row_number() over () as line "
        "from exchange.order_history) as history "
        "left join exchange.order_book as book on history.order_id = book.order_id "
        "order by history.order_id, history.line desc",
    )
    count = rows(traded.connection, "select count(*) from exchange.orders")
    assert [(len(last),)] == count
    assert [line for line in last if line[1] != line[2]] == []
    first = rows(
        traded.connection,
        "select count(*) from exchange.order_history where event = 'placed' and shares = open_shares",
    )
    assert first == count


FILL_TERMS = """
insert into exchange.orders (order_id, account_key, symbol_key, side, shares, limit_price, placed_at)
select order_id, account_key, symbol_key, side, shares, limit_price, placed_at
from (
    select nextval('exchange.order_ids') as order_id, account_key, symbol_key, side, shares, limit_price,
        placed_at
    from exchange.orders cross join generate_series(1, 20000)
    where order_id = 1
) as more;
insert into exchange.order_terms (order_id, account_key, ref, post, replaced_order_id, passed_order_ids)
select order_id, account_key, 'r' || order_id, false, case when order_id % 2 = 0 then order_id - 1 end,
    case when order_id % 100 = 1 then array[order_id - 1] end
from exchange.orders where order_id > 2;
insert into exchange.cancellations (order_id, shares, canceled_at)
select order_id, 1, placed_at from exchange.orders where order_id > 1;
"""


def test_the_history_of_one_order_is_found_by_keys(market: Market) -> None:
    """And not by reading what all orders have said."""
    market.account("1", 100)
    market.grant("1", "X", 5)
    market.place("1", "X", 10, 5)
    market.connection.execute(FILL_TERMS.encode())
    market.connection.execute("vacuum analyze")
    ends = "select other_order_id from exchange.order_history where order_id = {} and event = 'canceled'"
    assert rows(market.connection, ends.format(999)) == [(1000,)]
    assert rows(market.connection, ends.format(1000)) == [(1001,)]
    assert rows(market.connection, ends.format(1002)) == [(None,)]
    plan = rows(
        market.connection, "explain (format json) select * from exchange.order_history where order_id = 999"
    )[0][0]
    steps, read = [plan[0]["Plan"]], set()
    while steps:
        step = steps.pop()
        steps += step.get("Plans", [])
        if step["Node Type"] == "Seq Scan":
            read.add(step["Relation Name"])
    assert not read & {"orders_1", "order_terms", "cancellations"}


def test_best_prices_and_depth_are_the_books(traded: Market) -> None:
    best = rows(
        traded.connection,
        "select sym, bid, bid_shares, ask, ask_shares, spread from exchange.best_bid_ask order by sym",
    )
    book = rows(
        traded.connection,
        "select sym, side::text, limit_price, sum(open_shares), count(*) from exchange.order_book "
        "group by 1, 2, 3 order by 1, 2, 3",
    )
    for sym, bid, bid_shares, ask, ask_shares, spread in best:
        buys = [(price, shares) for other, side, price, shares, _ in book if (other, side) == (sym, "buy")]
        sells = [(price, shares) for other, side, price, shares, _ in book if (other, side) == (sym, "sell")]
        assert (bid, bid_shares) == max(buys)
        assert (ask, ask_shares) == min(sells)
        assert spread == ask - bid > 0
    depth = rows(
        traded.connection,
        "select sym, side::text, price, shares, orders from exchange.depth order by 1, 2, 3",
    )
    assert depth == book
    total = "select sym, side::text, max(shares_up_to_here) from exchange.depth group by 1, 2 order by 1, 2"
    assert rows(traded.connection, total) == rows(
        traded.connection,
        "select sym, side::text, sum(open_shares) from exchange.order_book group by 1, 2 order by 1, 2",
    )


def test_best_prices_of_an_empty_side_are_null(market: Market) -> None:
    market.account("1", 100)
    market.grant("1", "X", 10)
    order_id = market.place("1", "X", 1, 5)
    market.cancel("1", order_id)
    market.place("1", "X", -1, 5)
    query = "select bid, bid_shares, ask::text, spread from exchange.best_bid_ask"
    assert rows(market.connection, query) == [(None, None, "5", None)]


def test_volume_is_the_tapes(traded: Market) -> None:
    connection = traded.connection
    day = rows(
        connection,
        "select sym, sum(trades), sum(shares), sum(value) from exchange.daily_volume group by 1 order by 1",
    )
    tape = rows(
        connection, "select sym, count(*), sum(shares), sum(value) from exchange.tape group by 1 order by 1"
    )
    assert day == tape
    assert rows(connection, "select from exchange.daily_volume where not vwap between low and high") == []
    assert rows(connection, "select from exchange.daily_volume where not close between low and high") == []
    takers = rows(connection, "select distinct taker_side::text from exchange.tape order by 1")
    assert takers == [("buy",), ("sell",)]


def test_an_average_of_fine_prices_lies_between_them(market: Market) -> None:
    for account in ("1", "2"):
        market.account(account, 10)
        market.grant(account, "X", 10)
    for price in ("0.00000000000000000001", "0.00000000000000000004"):
        market.place("1", "X", 1, price)
        market.place("2", "X", -1, price)
    query = "select low < vwap and vwap < high from exchange.daily_volume"
    assert rows(market.connection, query) == [(True,)]


def test_open_orders_hold_what_left_the_accounts(traded: Market) -> None:
    connection = traded.connection
    cash = (
        "select (select sum(cash) from exchange.account_balances) + sum(reserved_cash) "
        "from exchange.open_orders"
    )
    assert rows(connection, cash) == [(15000,)]
    shares = (
        "select (select sum(shares) from exchange.account_positions) + sum(reserved_shares) "
        "from exchange.open_orders"
    )
    assert rows(connection, shares) == [(603,)]


@pytest.fixture
def between_the_stages(traded: Market) -> Market:
    """The same with two incoming orders of account 1: of this session, and of one that is gone."""
    traded.connection.execute(
        "select exchange.settle_idle_accounts(), pg_advisory_lock(5002, pg_backend_pid())"
    )
    traded.connection.execute(
        "with buy as (update exchange.balances set cash = cash - 10 where account_key = 1), sell as ("
        "update exchange.positions set shares = shares - 3 where account_key = 1 and symbol_key = 2) "
        "insert into exchange.incoming_orders "
        "(session_pid, account_key, symbol_key, side, shares, limit_price) "
        "values (pg_backend_pid(), 1, 1, 'buy', 4, 2.5), (0, 1, 2, 'sell', 3, 99.0)"
    )
    return traded


def test_reserved_orders_hold_what_left_the_accounts(between_the_stages: Market) -> None:
    connection = between_the_stages.connection
    query = (
        "select account_id, sym, side::text, limit_price::text, shares, "
        "reserved_cash::text, reserved_shares, "
        "session_pid = pg_backend_pid(), is_orphan from exchange.reserved_orders order by incoming_id"
    )
    assert rows(connection, query) == [
        ("1", "X", "buy", "2.5", 4, "10", None, True, False),
        ("1", "Y", "sell", "99", 3, None, 3, False, True),
    ]
    assert rows(connection, "select incoming_orders from exchange.count_open()") == [(2,)]
    assert between_the_stages.violations() == []


def test_statements_end_with_what_is_reserved(between_the_stages: Market) -> None:
    query = (
        "select at, cause, sym, order_id, cash_change, shares_change from exchange.account_statement "
        "where account_id = '1' order by entry desc limit 2"
    )
    sell, buy = rows(between_the_stages.connection, query)
    assert buy == (None, "incoming", "X", None, -10, None)
    assert sell == (None, "incoming", "Y", None, None, -3)
    test_statements_end_at_the_balances(between_the_stages)


def test_a_market_order_between_the_stages_holds_its_budget(traded: Market) -> None:
    connection = traded.connection
    connection.execute(
        "select exchange.settle_idle_accounts();"
        "update exchange.balances set cash = cash - 70 where account_key = 1;"
        "insert into exchange.incoming_orders (session_pid, account_key, symbol_key, side, shares, terms) "
        "values (0, 1, 1, 'buy', 4, row('a7', 'market', 70, 'FOK', null, 'both', null, null))"
    )
    query = (
        "select shares, limit_price, reserved_cash, ref, type::text, tif::text, post, stp::text "
        "from exchange.reserved_orders"
    )
    assert rows(connection, query) == [(4, None, 70, "a7", "market", "FOK", None, "both")]
    last = (
        "select cash_change from exchange.account_statement where account_id = '1' "
        "order by entry desc limit 1"
    )
    assert rows(connection, last) == [(-70,)]
    test_statements_end_at_the_balances(traded)
    assert traded.violations() == []


def test_unsettled_credits_are_what_balances_add(traded: Market) -> None:
    connection = traded.connection
    traded.grant("1", "X", 1)
    order_id = traded.place("2", "X", 1, 1)
    traded.cancel("2", order_id)
    owed = rows(connection, "select sum(cash), sum(shares) from exchange.unsettled_credits")
    cash = "select sum(unsettled_cash) from exchange.account_balances"
    shares = "select sum(unsettled_shares) from exchange.account_positions"
    assert owed == [(*rows(connection, cash)[0], *rows(connection, shares)[0])]
    credits = "select sum(credits) from exchange.unsettled_credits"
    assert rows(connection, credits) == rows(connection, "select count(*) from exchange.credits") >= [(2,)]
    connection.execute("select exchange.settle_idle_accounts()")
    assert rows(connection, "select from exchange.unsettled_credits") == []


def test_the_lock_of_a_symbol_shows_who_holds_it_and_who_waits(database: str, market: Market) -> None:
    market.account("1", 100)
    market.grant("1", "X", 10)
    market.grant("1", "Y", 10)
    query = (
        "select sym, holder_pid, holder_state, held_for > '0', waiters, waiter_pids, longest_wait > '0' "
        "from exchange.symbol_locks order by sym"
    )
    free = (None, None, None, 0, None, None)
    assert rows(market.connection, query) == [("X", *free), ("Y", *free)]
    with meeting(database, 2) as (holder, waiter):
        holder.begin()
        holder.market.place("1", "X", 1, 1)
        call = waiter.start(waiter.market.place, "1", "X", 1, 1)
        until_blocked(market.connection, waiter, holder, call)
        market.connection.execute("set role exchange_reader")
        held = (holder.pid, "idle in transaction", True, 1, [waiter.pid], True)
        assert rows(market.connection, query) == [("X", *held), ("Y", *free)]
        holder.commit()
        call.result()
    assert rows(market.connection, query) == [("X", *free), ("Y", *free)]


def test_the_slot_in_the_view_is_the_one_that_is_locked(market: Market) -> None:
    for i in range(50):
        market.connection.execute("select exchange.create_symbol(%s)", [f"S{i}"])
    query = (
        "select sym from exchange.symbol_locks inner join exchange.symbols using (sym) "
        "where slot <> exchange.symbol_slot(symbol_key)"
    )
    assert rows(market.connection, query) == []


def test_bloat_is_seen_and_gone_after_a_rewrite(traded: Market) -> None:
    connection = traded.connection
    connection.execute("alter table exchange.resting_orders set (autovacuum_enabled = off)")
    connection.execute(
        "insert into exchange.resting_orders "
        "select 999, 'sell', 1, n, 1, 1 from generate_series(1000, 21000) as n"
    )
    connection.execute("delete from exchange.resting_orders where symbol_key = 999")
    query = (
        "select bloat_percent > 80 from exchange.relation_bloat "
        "where relation in ('resting_orders', 'resting_orders_pkey')"
    )
    connection.execute("analyze exchange.resting_orders")
    assert rows(connection, query) == [(True,), (True,)]
    connection.execute("vacuum full exchange.resting_orders")
    connection.execute("analyze exchange.resting_orders")
    assert rows(connection, query) == [(False,), (False,)]


def test_the_reader_reads_every_view_and_changes_nothing(connection: Connection) -> None:
    views = [name for (name,) in rows(connection, VIEWS)]
    assert len(views) == 17
    connection.execute("set role exchange_reader")
    for view in views:
        connection.execute(f"select * from exchange.{view}".encode())
    for statement in (
        "update exchange.balances set cash = 0",
        "delete from exchange.orders",
        "select exchange.place_order('1', 'X', 1, 1)",
        "create table exchange.mine ()",
        "select pg_read_file('postgresql.conf')",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement.encode())
