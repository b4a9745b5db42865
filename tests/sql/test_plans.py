"""The plans of everything that process_batch runs, whatever the planner believes.

auto_explain tells each nested statement's plan to the session that ran it. A hot table is read by key or by
row address, and the book in key order: a plan that sorts, or reads what it doesn't need, is several times as
slow, and comes and goes with autovacuum's statistics.
"""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from psycopg.rows import TupleRow

from tests.sql.market import Connection, Market, Request, always_hint, literals, replace, wrap

Plan = dict[str, Any]

BY_KEY = {"Index Scan", "Index Only Scan", "Tid Scan"}
# What is read in parts, each of them limited: the book where there are hints.
SORTED_PARTS = {"Merge Append", "Sort of Append"}
# What comes in key order and is added up as it comes: the levels of a book.
SORTED_SUMS = {"Sorted Aggregate of Index Scan"}
# By what each table may be read: one of these, with all of its parts. The walks of the book, the updates and
# credits begin where live entries do, which keeps them short while a long snapshot elsewhere keeps dead ones.
KEYS = {
    "accounts": [["account_id ="], ["account_key ="]],
    "balances": [["account_key ="]],
    "cancellations": [["order_id ="]],
    "certificate_accounts": [["certificate_name =", "account_id ="]],
    "certificate_operators": [["certificate_name ="]],
    "credits": [["account_key =", "transaction_id >="]],
    "executions": [["buy_order_id ="], ["sell_order_id ="]],
    "book_hints": [["symbol_key =", "side ="]],
    "incoming_orders": [],  # read by address alone
    "orders": [["order_id ="]],
    "order_terms": [["order_id ="], ["account_key =", "ref ="]],
    "positions": [["account_key =", "symbol_key ="]],
    "resting_orders": [
        ["symbol_key =", "side =", "price_rank =", "order_id ="],
        ["symbol_key =", "side =", "ROW(price_rank, order_id) >="],
        ["symbol_key =", "side =", "price_rank =", "order_id >=", "order_id <="],
        ["symbol_key =", "side =", "price_rank >=", "price_rank <=", "order_id >"],
        ["account_key ="],
    ],
    "switches": [["account_key ="]],
    "symbols": [["sym ="], ["symbol_key ="]],
    "updates": [["symbol_key ="]],
}
# By what a look reads, and nothing else does.
KEYS_OF_LOOKS = {
    "positions": [["account_key ="]],
    "resting_orders": [["account_key =", "order_id >"]],
}
# By what a feed reads.
KEYS_OF_FEED = {"certificate_accounts": [["certificate_name ="]]}
# By what switches that are due are found.
KEYS_OF_FIRING = {"switches": [["fires_at <="]]}
# What a look reads from end to end: a small table, for it has no index.
SCANNED_BY_LOOKS = {"incoming_orders"}

FILL_THE_BOOK = """
insert into exchange.orders (order_id, account_key, symbol_key, side, shares, limit_price, placed_at)
select
    nextval('exchange.order_ids'),
    1 + place %% 50,
    1 + place %% 2,
    case when place %% 4 < 2 then 'buy'::exchange.side else 'sell'::exchange.side end,
    10,
    case when place %% 4 < 2 then 100 - place::numeric / 1000 else 101 + place::numeric / 1000 end,
    now()
from generate_series(1, %(orders)s) as place;

insert into exchange.resting_orders (symbol_key, side, price_rank, order_id, account_key, open_shares)
select
    symbol_key,
    side,
    case side when 'buy' then -limit_price else limit_price end,
    order_id,
    account_key,
    shares
from exchange.orders;

insert into exchange.updates
(symbol_key, seq, updated_at, bid_rank, bid_id, ask_rank, ask_id, events)
select symbol_key, place, now(), (bid).price_rank, (bid).order_id, (ask).price_rank, (ask).order_id, '{}'
from (
    select
        symbol_key,
        exchange.find_best(symbol_key, 'buy', null, null) as bid,
        exchange.find_best(symbol_key, 'sell', null, null) as ask
    from exchange.symbols
    offset 0
) as best
cross join generate_series(1, %(orders)s) as place;

insert into exchange.executions
(symbol_key, buy_order_id, sell_order_id, shares, price, buy_limit, sell_limit, executed_at)
select 1, place, place + 1, 1, 1, 1, 1, now()
from generate_series(1, %(orders)s) as place;

insert into exchange.credits (account_key, symbol_key, shares, cash)
select 1 + place %% 50, 1, 0, 1
from generate_series(1, %(orders)s) as place;

insert into exchange.certificate_accounts (certificate_name, account_id)
select 'name ' || place, 1 + place %% 50
from generate_series(1, %(orders)s) as place
on conflict do nothing;

insert into exchange.certificate_operators (certificate_name)
select 'operator ' || place
from generate_series(1, %(orders)s) as place
on conflict do nothing;
"""


def fill_the_book(connection: Connection, orders: int) -> None:
    with psycopg.ClientCursor(connection) as cursor:
        cursor.execute(FILL_THE_BOOK.encode(), {"orders": orders})


def analyze(connection: Connection) -> None:
    connection.execute("vacuum analyze")


def empty_the_book(connection: Connection) -> None:
    for table in ("resting_orders", "updates", "credits", "orders", "executions"):
        connection.execute(f"delete from exchange.{table}".encode())


def fill_little(connection: Connection) -> None:
    fill_the_book(connection, 8)


def fill_much(connection: Connection) -> None:
    fill_the_book(connection, 20000)


def open_accounts(connection: Connection) -> None:
    """Create fifty accounts with shares of two symbols, three of them bound to a certificate."""
    market = Market(connection)
    connection.execute(
        "insert into exchange.certificate_accounts (certificate_name, account_id) "
        "values ('ann', '1'), ('ann', '2'), ('ann', '3')"
    )
    for account in range(1, 51):
        market.account(str(account), 10**9)
        for sym in ("X", "Y"):
            market.grant(str(account), sym, 10**6)
    connection.execute("select exchange.settle_idle_accounts()")


# What the planner believes, and how the tables come to be otherwise.
STATES: dict[str, list[Callable[[Connection], None]]] = {
    "never analyzed": [open_accounts],
    "empty": [open_accounts, analyze],
    "tiny": [open_accounts, fill_little, analyze],
    "large": [open_accounts, fill_much, analyze],
    "large, never analyzed": [open_accounts, fill_much],
    "all believed empty": [analyze, open_accounts, fill_much],
    "large, believed empty": [open_accounts, analyze, fill_much],
    "large, believed tiny": [open_accounts, fill_little, analyze, empty_the_book, fill_much],
    "empty, believed large": [open_accounts, fill_much, analyze, empty_the_book],
}


@pytest.fixture
def tables(connection: Connection, request: pytest.FixtureRequest) -> Connection:
    """Fifty accounts, two symbols, and the tables in the state that the test names."""
    leaves = (
        "select oid::regclass::text from pg_class "
        "where relnamespace = 'exchange'::regnamespace and relkind = 'r'"
    )
    for (table,) in connection.execute(leaves).fetchall():
        connection.execute(f"alter table {table} set (autovacuum_enabled = off)".encode())
    for step in STATES[request.param]:
        step(connection)
    return connection


@pytest.fixture
def session(database: str) -> Iterator[Connection]:
    """A session that hears the plan of each statement that it runs, at whatever depth."""
    with psycopg.connect(database, autocommit=True) as session:
        session.execute("load 'auto_explain'")
        for setting, value in {
            "log_min_duration": "0",
            "log_nested_statements": "on",
            "log_format": "json",
            "log_level": "notice",
        }.items():
            session.execute(f"set auto_explain.{setting} = '{value}'".encode())
        yield session


def plans_of(session: psycopg.Connection[TupleRow], certificate: str | None = None) -> list[Plan]:
    """Return the plans of a batch of orders that rest, sweep, trade and are refused, a cancel and a query.

    With a certificate's name, also those of looking up what it may do.
    """
    market = Market(session)
    batch = [
        Request("place_order", "1", "X", "100", "102"),
        Request("place_order", "2", "X", "-150", "99"),
        Request("place_order", "3", "Y", "10", "90"),
        Request("place_order", "4", "Y", "-10000000", "90", sequence=2),  # more than it has
        Request("cancel_order", "1", order_id=1),
        Request("query_order", "1", order_id=1),
    ]
    names = None if certificate is None else [certificate] * len(batch)
    market.batch(batch, names)  # plans are made
    with hearing(session) as heard:
        orders = market.batch(batch, names)
    assert orders[0][0].outcome == "opened"
    assert (orders[3][0].code == "insufficient_shares") is (certificate is None)
    assert len(heard) > 10
    return heard


def plans_of_stages(session: psycopg.Connection[TupleRow]) -> list[Plan]:
    """Return the plans of orders that go through the two stages in calls of their own."""
    session.execute("select exchange.begin_session()")
    orders = [Request("place_order", "1", "X", "100", "102"), Request("place_order", "2", "X", "-150", "99")]

    def carry_out() -> list[str]:
        incoming = session.execute(
            "select array_agg(incoming_id), array_agg(address), array_agg(slot) "
            "from exchange.reserve_orders(%s::text[]::exchange.request[])",
            [literals(orders)],
        ).fetchone()
        query = "select outcome from exchange.match_orders(%s::bigint[], %s::tid[], %s::integer[])"
        return [row[0] for row in session.execute(query, incoming)]

    carry_out()  # plans are made
    with hearing(session) as heard:
        assert carry_out() == ["opened", "opened"]
    assert len(heard) > 10
    return heard


def plans_of_looks(session: psycopg.Connection[TupleRow]) -> list[Plan]:
    """Return the plans of looks at accounts, lists of open orders, and books."""
    market = Market(session)
    batch = [
        Request("look_account", "1"),
        Request("look_account", "2", sequence=2),
        Request("list_orders", "1", amount="5"),
        Request("list_orders", "2", "X", order_id=7, sequence=2),
        Request("look_book", "1", "X"),
        Request("look_book", "2", "Y", amount="3", sequence=2),
    ]
    market.batch(batch)  # plans are made
    with hearing(session) as heard:
        answers = market.batch(batch)
    assert [parts[0].outcome for parts in answers] == ["account"] * 2 + ["orders"] * 2 + ["book"] * 2
    assert len(heard) > 3
    return heard


def plans_of_feed(session: psycopg.Connection[TupleRow]) -> list[Plan]:
    """Return the plans of what a feed reads."""
    statements = [
        "select outcome from exchange.subscribe('{X,Y,X}', '{5,null,99999}', '{ann,ann,\"operator 1\"}')",
        "select count(*) > 0 from exchange.snapshot_book(1)",
        "select count(*) > 0 from exchange.read_updates('{1,2,1}', '{3,0,99999}', 2)",
        "select exchange.seq_at(1, now())",
    ]
    for statement in statements:
        session.execute(statement.encode())  # plans are made
    with hearing(session) as heard:
        for statement in statements:
            session.execute(statement.encode())
    # What isn't of the feed's functions is the test's own.
    return [plan for plan in heard if plan["Query Text"] not in statements]


def plans_of_forgetting(session: psycopg.Connection[TupleRow]) -> list[Plan]:
    """Return the plans of forgetting old updates, without that of going through the symbols."""
    statement = b"select exchange.forget_updates('-1 minute', 5)"
    session.execute(statement)
    with hearing(session) as heard:
        session.execute(statement)
    assert any("random()" in plan["Query Text"] for plan in heard)
    return [plan for plan in heard if "random()" not in plan["Query Text"]]


def plans_of_firing(session: psycopg.Connection[TupleRow]) -> list[Plan]:
    """Return the plans of looking for switches that are due, while none is."""
    statement = b"select account_id from exchange.fire_switches()"
    session.execute(statement)
    with hearing(session) as heard:
        session.execute(statement)
    assert any("fires_at" in plan["Query Text"] for plan in heard)
    return heard


@contextmanager
def hearing(session: psycopg.Connection[TupleRow]) -> Iterator[list[Plan]]:
    """Give a list that each plan is added to which the session tells of."""
    heard: list[Plan] = []

    def hear(diagnostic: psycopg.errors.Diagnostic) -> None:
        _, found, plan = (diagnostic.message_primary or "").partition("plan:\n")
        if found:
            heard.append(json.loads(plan))

    session.add_notice_handler(hear)
    try:
        yield heard
    finally:
        session.remove_notice_handler(hear)


def table_of(node: Plan) -> str:
    """Return the table that a node reads; of a partition, the table that it is part of."""
    return re.sub(r"_\d+$", "", node.get("Relation Name", ""))


def nodes(plan: Plan) -> Iterator[Plan]:
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)


def kind_below(node: Plan) -> str:
    """Return of what kind the node below is; of a sort or a sum, also what it sorts or sums up."""
    below: Plan = node["Plans"][0]
    while below["Node Type"] in ("LockRows", "Result"):
        below = below["Plans"][0]
    kind: str = below["Node Type"]
    what = {"Sort": "Sort", "Aggregate": f"{below.get('Strategy')} Aggregate"}.get(kind)
    return f"{what} of {below['Plans'][0]['Node Type']}" if what else kind


def offences(
    explained: Plan, *, of_looks: bool = False, more_keys: dict[str, list[list[str]]] | None = None
) -> list[str]:
    """Return what a hot statement's plan must not do."""
    more_keys = KEYS_OF_LOOKS if of_looks else more_keys or {}
    found = []
    scanned = SCANNED_BY_LOOKS if of_looks else set()
    for node in nodes(explained["Plan"]):
        kind, table = node["Node Type"], table_of(node)
        if kind == "ModifyTable":
            continue
        if table in KEYS and kind not in BY_KEY and not (kind == "Seq Scan" and table in scanned):
            found.append(f"{kind} on {table}")
        if kind == "Limit" and (below := kind_below(node)) not in BY_KEY | SORTED_PARTS | SORTED_SUMS:
            found.append(f"Limit over {below}")
        if table in KEYS and kind in ("Index Scan", "Index Only Scan"):
            condition = node.get("Index Cond", "")
            keys = KEYS[table] + more_keys.get(table, [])
            if not any(all(part in condition for part in key) for key in keys):
                found.append(f"{table} not by key, but by {condition or 'nothing'}")
    query = " ".join(explained["Query Text"].split())
    return [f"{offence}: {query}" for offence in found]


@pytest.mark.parametrize("tables", STATES, indirect=True)
@pytest.mark.parametrize("hinted", [False, True], ids=["", "hinted"])
def test_hot_statements_read_by_key(tables: Connection, session: Connection, hinted: bool) -> None:
    if hinted:
        always_hint(tables)
    plans = plans_of(session) + plans_of(session, "ann") + plans_of_stages(session)
    assert [offence for plan in plans for offence in offences(plan)] == []
    looks = plans_of_looks(session)
    assert [offence for plan in looks for offence in offences(plan, of_looks=True)] == []
    plans += looks
    read = {table_of(node) for plan in plans for node in nodes(plan["Plan"])}
    assert read >= KEYS.keys()


def reads_of_updates(plans: list[Plan]) -> set[str]:
    """Return by what updates are read, as in `seq >=`; but for the newest, which is one row."""
    return {
        " ".join(re.findall(r"\bseq [<=>]+", node.get("Index Cond", ""))) or "all"
        for plan in plans
        for node, is_one in with_limits(plan["Plan"])
        if table_of(node) == "updates"
        and node["Node Type"] != "ModifyTable"
        and not (is_one and node.get("Scan Direction") == "Backward")
    }


def with_limits(node: Plan, is_limited: bool = False) -> Iterator[tuple[Plan, bool]]:
    yield node, is_limited
    for child in node.get("Plans", []):
        yield from with_limits(child, node["Node Type"] == "Limit")


@pytest.mark.parametrize("tables", STATES, indirect=True)
def test_a_feed_reads_by_key(tables: Connection, session: Connection) -> None:
    plans = plans_of_feed(session)
    assert [offence for plan in plans for offence in offences(plan, more_keys=KEYS_OF_FEED)] == []
    assert {"seq =", "seq >"} == reads_of_updates(plans)
    plans = plans_of_forgetting(session)
    assert [offence for plan in plans for offence in offences(plan)] == []
    assert reads_of_updates(plans) <= {"seq =", "seq >= seq <="}


@pytest.mark.parametrize("tables", STATES, indirect=True)
def test_switches_that_are_due_are_found_by_their_time(tables: Connection, session: Connection) -> None:
    plans = plans_of_firing(session)
    assert [text for plan in plans for text in offences(plan, more_keys=KEYS_OF_FIRING)] == []


@pytest.mark.parametrize("tables", ["tiny"], indirect=True)
def test_a_looser_look_for_due_switches_would_be_found(tables: Connection, session: Connection) -> None:
    # A volatile function is no key.
    loose = "perform from exchange.switches where fires_at <= clock_timestamp()"
    wrap(tables, "fire_switches", f"begin {loose}; return query select * from {{call}}; end")
    found = [text for plan in plans_of_firing(session) for text in offences(plan, more_keys=KEYS_OF_FIRING)]
    assert any("switches not by key" in text for text in found), found


@pytest.mark.parametrize("tables", ["tiny"], indirect=True)
def test_a_looser_look_up_of_certificates_would_be_found(tables: Connection, session: Connection) -> None:
    loose = (
        "select exists (select from exchange.certificate_accounts "
        "where certificate_name || '' = p_certificate_name and account_id = p_account_id offset 0)"
    )
    replace(tables, "certificate_may", loose, "sql")
    found = [offence for plan in plans_of(session, "ann") for offence in offences(plan)]
    assert any("certificate_accounts not by key" in text for text in found), found


PLANNER = ("plan_cache_mode", "enable_seqscan", "enable_bitmapscan", "enable_hashjoin", "enable_mergejoin")
LOOSE = {
    # The planner may turn the look-up around.
    "symbols not by key": "perform count(*) from unnest(p_incoming) as placed "
    "left join exchange.symbols on symbols.symbol_key + 0 = placed.symbol_key",
    # The walk doesn't begin at the best order.
    "resting_orders not by key": "perform from exchange.resting_orders where symbol_key = 1 and side = 'buy' "
    "order by price_rank, order_id limit 1",
}


def offences_of(session: Connection) -> list[str]:
    return [offence for plan in plans_of(session) for offence in offences(plan)]


@pytest.mark.parametrize("tables", ["large"], indirect=True)
def test_missing_planner_settings_would_be_found(tables: Connection, session: Connection) -> None:
    for setting in PLANNER:
        tables.execute(f"alter function exchange.process_batch reset {setting}".encode())
    found = offences_of(session)
    assert any("Scan on" in text for text in found), found


@pytest.mark.parametrize("tables", ["large"], indirect=True)
@pytest.mark.parametrize("offence", LOOSE)
def test_a_looser_query_would_be_found(tables: Connection, session: Connection, offence: str) -> None:
    wrap(
        tables,
        "match",
        f"begin {LOOSE[offence]}; select * into order_ids, codes, messages, told from {{call}}; end",
    )
    found = offences_of(session)
    assert any(offence in text for text in found), found


LOOSE_LOOKS = {
    # A list of accounts' orders that goes by the book.
    "resting_orders not by key": (
        "list_orders_of",
        "perform from exchange.resting_orders where order_id > 0 order by order_id limit 1",
    ),
    # Levels that are made of the whole side.
    "Limit over": (
        "look_books",
        "perform open_shares, count(*) from exchange.resting_orders where symbol_key = 1 and side = 'buy' "
        "and (price_rank, order_id) >= (-1000, 0) group by open_shares order by open_shares limit 1",
    ),
}


@pytest.mark.parametrize("tables", ["large"], indirect=True)
@pytest.mark.parametrize("offence", LOOSE_LOOKS)
def test_a_looser_look_would_be_found(tables: Connection, session: Connection, offence: str) -> None:
    function, query = LOOSE_LOOKS[offence]
    wrap(tables, function, f"begin {query}; return query select * from {{call}}; end")
    found = [text for plan in plans_of_looks(session) for text in offences(plan, of_looks=True)]
    assert any(offence in text for text in found), found


LOOSE_FEEDS = {
    # All updates of a symbol, to leave out what is known.
    "read_updates": "perform count(*) from exchange.updates where symbol_key = 1 and seq + 0 > 5",
    # The oldest by the order of the key, over the index entries of all that were forgotten.
    "seq_at": "perform seq from exchange.updates where symbol_key = 1 order by seq limit 1",
}


@pytest.mark.parametrize("tables", ["large"], indirect=True)
@pytest.mark.parametrize("function", LOOSE_FEEDS)
def test_a_looser_feed_would_be_found(tables: Connection, session: Connection, function: str) -> None:
    query = LOOSE_FEEDS[function]
    result = "return {call}" if function == "seq_at" else "return query select * from {call}"
    wrap(tables, function, f"begin {query}; {result}; end")
    assert "all" in reads_of_updates(plans_of_feed(session))
