"""Looking: what an account has, its open orders, and a book, as the tables have them."""

from collections.abc import Callable
from functools import partial

import psycopg
import pytest

from tests.sql.market import Market, Request, Session, meeting, until_blocked
from tests.sql.mutants import Mutant, install


@pytest.fixture
def traders(market: Market) -> Market:
    """Three accounts with money and shares of X and Y."""
    for account in ("1", "2", "3"):
        market.account(account, 1000)
        market.grant(account, "X", 100)
        market.grant(account, "Y", "7.5")
    return market


def account(market: Market, account_id: str) -> list[str]:
    """Return what an account has, as in `account 854.33 + 145.67` or `SPY 80 + 20`; or the refusal."""
    query = (
        "select coalesce(message, format('%%s %%s + %%s', coalesce(sym, outcome), free, reserved)) "
        "from exchange.look_account(%s)"
    )
    return [text for (text,) in market.connection.execute(query.encode(), [account_id])]


def orders(market: Market, *arguments: object) -> list[str]:
    """Return an account's open orders, as in `4: -50 X @ 145.5, 20 open`; or `more`, or the refusal."""
    columns = "outcome, order_id, amount, sym, limit_price, open_shares, message"
    query = f"select {columns} from exchange.list_orders({{}})"
    listed = []
    for outcome, order_id, amount, sym, price, open_shares, message in market.connection.execute(
        query.format(", ".join(["%s"] * len(arguments))).encode(), arguments
    ):
        order = f"{order_id}: {amount} {sym} @ {price}, {open_shares} open"
        listed.append(order if outcome == "order" else message or outcome)
    return listed


def book(market: Market, *arguments: object) -> list[str]:
    """Return a book's levels, as in `bid 300 @ 145.5 (4)`; or the refusal."""
    query = (
        "select outcome, shares, price, orders, message from exchange.look_book({}) where outcome <> 'book'"
    )
    return [
        message or (f"{outcome} {shares} @ {price} ({count})" if price else outcome)
        for outcome, shares, price, count, message in market.connection.execute(
            query.format(", ".join(["%s"] * len(arguments))).encode(), arguments
        )
    ]


# --- accounts -----------------------------------------------------------------------------------------------


def test_an_account_shows_what_is_free_and_what_is_reserved(traders: Market) -> None:
    assert account(traders, "1") == ["account 1000 + 0", "X 100 + 0", "Y 7.5 + 0"]
    traders.place("1", "X", 10, "12.50")
    traders.place("1", "Y", "-7.5", 3)
    traders.place("1", "X", "-1.5", 20)
    assert account(traders, "1") == ["account 875 + 125", "X 98.5 + 1.5", "Y 0 + 7.5"]
    traders.place("2", "X", -4, "12.5")
    assert account(traders, "1") == ["account 875 + 75", "X 102.5 + 1.5", "Y 0 + 7.5"]
    assert account(traders, "2") == ["account 1050 + 0", "X 96 + 0", "Y 7.5 + 0"]


def test_positions_without_anything_are_left_out_and_others_stand_in_byte_order(market: Market) -> None:
    market.account("1", 0)
    for sym in ("b", "a", "B", "C", "A1", "A"):
        market.grant("1", sym, 1)
    market.account("2", 100)
    market.place("1", "a", -1, 5)
    market.place("2", "a", 1, 5)
    assert account(market, "1") == ["account 5 + 0", "A 1 + 0", "A1 1 + 0", "B 1 + 0", "C 1 + 0", "b 1 + 0"]
    assert account(market, "2") == ["account 95 + 0", "a 1 + 0"]
    market.connection.execute("select exchange.settle_idle_accounts()")
    assert account(market, "1") == ["account 5 + 0", "A 1 + 0", "A1 1 + 0", "B 1 + 0", "C 1 + 0", "b 1 + 0"]


def test_what_has_been_folded_in_counts_once(traders: Market) -> None:
    for _ in range(40):
        traders.place("1", "X", -1, 5)
        traders.place("2", "X", 1, 5)
        traders.connection.execute("select exchange.settle_idle_accounts()")
    traders.place("1", "X", -1, 5)
    traders.place("2", "X", 1, 5)
    assert account(traders, "1") == ["account 1205 + 0", "X 59 + 0", "Y 7.5 + 0"]
    assert account(traders, "2") == ["account 795 + 0", "X 141 + 0", "Y 7.5 + 0"]


INCOMING = """
insert into exchange.incoming_orders (session_pid, account_key, symbol_key, side, shares, limit_price, terms)
values
    (0, 1, 1, 'buy', 4, 2.5, null),
    (0, 1, 1, 'buy', 60, null, row(null, 'market', 80, null, null, null, null, null)),
    (0, 1, 2, 'sell', 3, 9, null),
    (0, 1, 2, 'sell', 2, null, row('a', 'market', null, 'IOC', null, null, null, null)),
    (0, 2, 1, 'buy', 1, 1, null)
"""


def test_what_is_reserved_between_the_stages_is_in_it(traders: Market) -> None:
    traders.connection.execute(INCOMING)
    assert account(traders, "1") == ["account 1000 + 90", "X 100 + 0", "Y 7.5 + 5"]
    assert account(traders, "3") == ["account 1000 + 0", "X 100 + 0", "Y 7.5 + 0"]


def test_an_armed_switch_is_told_in_whole_seconds_rounded_up(traders: Market) -> None:
    query = "select outcome, extract(epoch from fires_at)::text from exchange.look_account('1')"
    assert traders.connection.execute(query).fetchall()[0] == ("account", None)
    traders.connection.execute(
        "insert into exchange.switches values (1, 60, to_timestamp(1795395222.000001))"
    )
    told = traders.connection.execute(query).fetchall()
    assert told == [("account", "1795395223.000000"), ("position", None), ("position", None)]
    traders.connection.execute("update exchange.switches set fires_at = to_timestamp(1795395223)")
    assert traders.connection.execute(query).fetchall() == told


@pytest.mark.parametrize("function", ["look_account('9')", "list_orders('9')", "look_book('9', 'X')"])
def test_an_account_that_does_not_exist_is_unknown(traders: Market, function: str) -> None:
    query = f"select outcome, code, message from exchange.{function}"
    refused = ("refused", "unknown_account", "no such account: 9")
    assert traders.connection.execute(query.encode()).fetchall() == [refused]


def who_is_frozen_may_look(traders: Market) -> None:
    traders.place("1", "X", 10, 5)
    traders.connection.execute("select exchange.freeze_account('1')")
    assert account(traders, "1") == ["account 950 + 50", "X 100 + 0", "Y 7.5 + 0"]
    assert orders(traders, "1") == ["1: 10 X @ 5, 10 open"]
    assert book(traders, "1", "X") == ["bid 10 @ 5 (1)"]


def test_who_is_frozen_may_look(traders: Market) -> None:
    who_is_frozen_may_look(traders)


# --- open orders --------------------------------------------------------------------------------------------


def test_open_orders_are_listed_by_id(traders: Market) -> None:
    assert orders(traders, "1") == []
    traders.place("1", "X", 10, "5.50")
    traders.place("2", "X", 1, 6)
    traders.place("1", "Y", "-2.50", 9)
    traders.place("1", "X", 3, 4)
    traders.place("3", "X", -5, 5)  # 1 with the second order, 4 with the first
    first, second, third = "1: 10 X @ 5.5, 6 open", "3: -2.5 Y @ 9, 2.5 open", "4: 3 X @ 4, 3 open"
    assert orders(traders, "1") == [first, second, third]
    assert orders(traders, "1", "X") == [first, third]
    assert orders(traders, "1", "x") == []
    assert orders(traders, "1", None, 1) == [second, third]
    assert orders(traders, "1", "X", 3) == [third]
    assert orders(traders, "1", None, 4) == []
    traders.cancel("1", 3)
    assert orders(traders, "1") == [first, third]


def test_a_list_says_if_there_are_more(traders: Market) -> None:
    for _ in range(3):
        traders.place("1", "X", 1, 5)
    traders.place("1", "Y", 1, 5)
    line = "{}: 1 X @ 5, 1 open"
    assert orders(traders, "1", "X", None, 3) == [line.format(n) for n in (1, 2, 3)]
    assert orders(traders, "1", "X", None, 2) == [line.format(1), line.format(2), "more"]
    assert orders(traders, "1", "X", 1, 1) == [line.format(2), "more"]
    assert orders(traders, "1", "X", 2, 1) == [line.format(3)]


def test_a_list_has_a_thousand_orders_at_most(market: Market) -> None:
    market.account("1", 10000)
    market.grant("1", "X", 1)
    batch = [Request("place_order", "1", "X", "1", "1")] * 1001
    market.batch(batch)
    listed = orders(market, "1")
    assert (len(listed), listed[-1]) == (1001, "more")
    market.cancel("1", 1)
    listed = orders(market, "1")
    assert (len(listed), listed[-1]) == (1000, "1001: 1 X @ 1, 1 open")


@pytest.mark.parametrize("number", ["0", "-1", "1001", "1.5", "NaN", "Infinity"])
@pytest.mark.parametrize(("action", "code"), [("list_orders", "invalid_max"), ("look_book", "invalid_depth")])
def test_what_counts_no_rows_is_refused(traders: Market, action: str, code: str, number: str) -> None:
    ((refused,),) = traders.batch([Request(action, "1", "X", number)])
    assert (refused.outcome, refused.code) == ("refused", code)
    what = code.partition("_")[2]
    assert refused.message == f"{what} {number} is not allowed: a whole number from 1 to 1000"


def test_a_list_tells_refs_and_times(traders: Market) -> None:
    traders.place("1", "X", 1, 5)
    traders.place("1", "X", 1, 5)
    traders.connection.execute(
        "insert into exchange.order_terms (order_id, account_key, ref, post) values (2, 1, 'a7', false)"
    )
    query = (
        "select ref, listed.placed_at = date_trunc('second', orders.placed_at) "
        "from exchange.list_orders('1') as listed "
        "inner join exchange.orders using (order_id) order by order_id"
    )
    assert traders.connection.execute(query.encode()).fetchall() == [(None, True), ("a7", True)]


# --- books --------------------------------------------------------------------------------------------------


def test_a_book_is_told_by_price(traders: Market) -> None:
    assert book(traders, "1", "X") == []
    for amount, limit in ((10, 5), ("2.5", "5.0"), (1, "5.5"), (4, 3), (-1, 7), (-2, 7), (-3, 6)):
        traders.place("1", "X", amount, limit)
    told = ["bid 1 @ 5.5 (1)", "bid 12.5 @ 5 (2)", "bid 4 @ 3 (1)", "ask 3 @ 6 (1)", "ask 3 @ 7 (2)"]
    assert book(traders, "2", "X") == told
    assert book(traders, "2", "X", 1) == [told[0], told[3]]
    assert book(traders, "2", "X", 2) == [told[0], told[1], told[3], told[4]]
    traders.place("2", "X", -2, 5)
    assert book(traders, "2", "X", 2) == ["bid 11.5 @ 5 (2)", *told[2:]]
    traders.cancel("1", 7)
    assert book(traders, "2", "X", 1) == ["bid 11.5 @ 5 (2)", "ask 3 @ 7 (2)"]


def test_a_book_is_ten_levels_deep_unless_said(traders: Market) -> None:
    for price in range(1, 13):
        traders.place("1", "X", 1, price)
        traders.place("1", "X", -1, 100 + price)
    told = book(traders, "1", "X")
    assert told == [f"bid 1 @ {12 - n} (1)" for n in range(10)] + [
        f"ask 1 @ {101 + n} (1)" for n in range(10)
    ]
    assert len(book(traders, "1", "X", 1000)) == 24


def test_a_halted_book_says_so(traders: Market) -> None:
    traders.place("1", "X", 1, 5)
    query = "select outcome, halted_at is not null from exchange.look_book('1', 'X')"
    assert traders.connection.execute(query).fetchall() == [("book", False), ("bid", False)]
    traders.connection.execute("select exchange.halt_symbol('X')")
    told = traders.connection.execute(query).fetchall()
    assert told == [("book", False), ("halted", True), ("bid", False)]
    assert book(traders, "1", "Y") == []


def test_an_unknown_symbol_has_no_book(traders: Market) -> None:
    assert book(traders, "1", "x") == ["no such symbol: x"]
    ((refused,),) = traders.batch([Request("look_book", "1", "Z")])
    assert refused.code == "unknown_symbol"


# --- all of them --------------------------------------------------------------------------------------------


def test_a_look_sees_what_came_before_it_in_its_sequence(traders: Market) -> None:
    looks = [Request("look_account", "1"), Request("list_orders", "1"), Request("look_book", "1", "X")]
    answers = traders.batch(
        [
            *looks,
            Request("place_order", "1", "X", "4", "5"),
            *looks,
            Request("cancel_order", "1", order_id=1),
            *looks,
        ]
    )
    told = [[(answer.outcome, answer.shares) for answer in parts] for parts in answers]
    nothing: list[list[tuple[str, str | None]]] = [
        [("account", "1000"), ("position", "100"), ("position", "7.5")],
        [("orders", None)],
        [("book", None)],
    ]
    assert told[:3] == nothing
    assert told[4:7] == [
        [("account", "980"), *nothing[0][1:]],
        [("orders", None), ("order", "4")],
        [("book", None), ("bid", "4")],
    ]
    assert told[8:] == nothing


def test_a_look_sees_the_book_after_a_whole_update(traders: Market) -> None:
    """What others change in the same transaction is one update, and no book is of amid it."""
    traders.place("1", "X", 4, 5)
    answers = traders.batch(
        [
            Request("cancel_order", "1", order_id=1, sequence=1),
            Request("place_order", "1", "X", "2", "3", sequence=1),
            Request("query_order", "2", order_id=1, sequence=2),
            Request("look_book", "2", "X", sequence=2),
            Request("place_order", "2", "X", "1", "1", sequence=2),
            Request("look_book", "2", "X", sequence=3),
        ]
    )
    told = [[(answer.outcome, answer.order_id, answer.shares) for answer in answers[n]] for n in (3, 5)]
    assert told == [[("book", 1, None), ("bid", None, "4")]] * 2
    (after,) = traders.batch([Request("look_book", "2", "X")])
    assert (after[0].outcome, after[0].order_id) == ("book", 2)


def of_one_instant(database: str, traders: Market) -> None:
    """What somebody else does while a look waits for a table is seen by all looks, or by none."""
    looks = [
        Request("look_account", "1"),
        Request("look_book", "1", "X"),
        Request("list_orders", "1"),
        Request("query_order", "1", order_id=1),
    ]

    def look(session: Session) -> list[list[str | None]]:
        return [[part.shares or part.code for part in parts] for parts in session.market.batch(looks)]

    with meeting(database, 2) as (looking, trading):
        look(looking)  # so that the session knows its plans
        trading.begin()
        trading.connection.execute("lock table exchange.updates in access exclusive mode")
        call = looking.start(look, looking)
        assert until_blocked(traders.connection, looking, trading, call) == "relation"
        trading.market.place("1", "X", 4, 5)
        trading.commit()
        (cash, *_), book, listed, queried = call.result()
        assert (cash, book, listed, queried) in (
            ("1000", [None], [None], ["unknown_order"]),
            ("980", [None, "4"], [None, "4"], ["4"]),
        )


def test_looks_of_several_kinds_are_of_one_instant(database: str, traders: Market) -> None:
    of_one_instant(database, traders)


@pytest.mark.parametrize(
    "fault",
    [
        Mutant(
            "cut_into_phases",
            "begin return query select asked.action, array[asked.place], array[asked.request] "
            "from {call} as run cross join lateral rows from (unnest(run.places), unnest(run.requests)) "
            "as one (place, sequence, action, account_id, sym, amount, limit_price, order_id, "
            "certificate_name, terms) cross join lateral (select one.action, one.place, (one.sequence, "
            "one.action, one.account_id, one.sym, one.amount, one.limit_price, one.order_id, "
            "one.certificate_name, one.terms)::exchange.request as request) as asked "
            "order by asked.place; end",
        ),
        Mutant("look", "begin return query select * from {call}; end"),
    ],
    ids=["one after the other", "each statement sees what there is"],
)
def test_looks_of_several_instants_are_found(database: str, traders: Market, fault: Mutant) -> None:
    install(traders.connection, fault)
    with pytest.raises(AssertionError):
        of_one_instant(database, traders)


def test_looks_of_many_are_answered_each_in_its_place(traders: Market) -> None:
    traders.place("1", "X", 4, 5)
    traders.place("2", "Y", -2, 5)
    batch = [
        Request("look_account", account, sequence=place) for place, account in enumerate(("2", "9", "1", "2"))
    ]
    told = [[answer.shares or answer.code for answer in parts] for parts in traders.batch(batch)]
    second = ["1000", "100", "5.5"]
    assert told == [second, ["unknown_account"], ["980", "100", "7.5"], second]


# What each look says, and views that say the same, of a symbol or an account.
LOOKS = {
    "S1": (
        "select outcome, price, shares, orders from exchange.look_book('1', %(key)s, 1000) offset 1",
        "select case side when 'buy' then 'bid' else 'ask' end, price, shares, orders from exchange.depth "
        "where sym = %(key)s order by side, case side when 'buy' then -price else price end",
    ),
    "1": (
        "select order_id, sym, amount, limit_price, open_shares, ref, placed_at "
        "from exchange.list_orders(%(key)s)",
        "select order_id, sym, case side when 'buy' then shares else -shares end, limit_price, "
        "open_shares, ref, date_trunc('second', placed_at) "
        "from exchange.open_orders where account_id = %(key)s order by 1",
    ),
    "2": (
        "select sym, free, reserved from exchange.look_account(%(key)s)",
        "select null, cash, "
        "(select sum(reserved_cash) from exchange.open_orders where account_id = %(key)s) "
        "from exchange.account_balances where account_id = %(key)s "
        "union all select sym, shares, coalesce((select sum(reserved_shares) from exchange.open_orders "
        "where account_id = %(key)s and open_orders.sym = account_positions.sym), 0) "
        "from exchange.account_positions where account_id = %(key)s order by 1 nulls first",
    ),
}


@pytest.mark.parametrize("key", LOOKS)
def test_looks_tell_what_the_views_tell(varied: Market, key: str) -> None:
    """After trading of every kind."""
    look, view = (varied.connection.execute(query.encode(), {"key": key}).fetchall() for query in LOOKS[key])
    assert look == view
    assert len(look) > 2


@pytest.mark.parametrize("function", ["look_account('1')", "list_orders('1')", "look_book('1', 'X')"])
def test_a_look_changes_nothing(traders: Market, function: str) -> None:
    """So it works while the database takes no writes, and nobody waits for it or makes it wait."""
    traders.place("1", "X", 4, 5)
    query = f"select count(*) from exchange.{function}".encode()
    traders.connection.execute("set default_transaction_read_only = on")
    (rows,) = traders.connection.execute(query).fetchall()
    assert rows[0] > 0
    traders.connection.execute("begin")
    traders.connection.execute(query)
    locked = "select count(*) from pg_locks where pid = pg_backend_pid() and "
    locked += "(locktype in ('advisory', 'tuple', 'transactionid') or mode = 'RowShareLock')"
    assert traders.connection.execute(locked.encode()).fetchall() == [(0,)]
    traders.connection.execute("rollback")


def test_a_gateway_may_look_and_read_no_table(traders: Market) -> None:
    traders.connection.execute("set role exchange_gateway")
    assert account(traders, "1") == ["account 1000 + 0", "X 100 + 0", "Y 7.5 + 0"]
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        traders.connection.execute("select exchange.look_accounts(null, null)")


# What could be wrong with the functions.
OF_LOOK = "begin return query select looked.* from {call} as looked %s; end"
MUTANTS = {
    "what is owed isn't free": Mutant("settled_since", "begin return '18446744073709551615'; end"),
    "what is open isn't reserved": Mutant("holdings_of", OF_LOOK % "where looked.reserved = 0"),
    "what is settled or owed isn't free": Mutant("holdings_of", OF_LOOK % "where looked.reserved > 0"),
    "only cash is told": Mutant("look_accounts", OF_LOOK % "where looked.sym is null"),
    "positions aren't in order": Mutant("look_accounts", OF_LOOK % "order by looked.sym desc nulls first"),
    "orders of other symbols are listed": Mutant(
        "list_orders_of",
        """
        begin
            for n in 1 .. cardinality(p_requests) loop
                p_requests[n].sym := null;
            end loop;
            return query select * from {call};
        end
        """,
    ),
    "what a list follows is in it": Mutant(
        "list_orders_of",
        """
        begin
            for n in 1 .. cardinality(p_requests) loop
                p_requests[n].order_id := p_requests[n].order_id - 1;
            end loop;
            return query select * from {call};
        end
        """,
    ),
    "a list doesn't say that there is more": Mutant("list_orders_of", OF_LOOK % "where outcome <> 'more'"),
    "a list has no bound": Mutant("rows_asked", "begin return 1000; end"),
    "a book's bids are missing": Mutant("look_books", OF_LOOK % "where outcome <> 'bid'"),
    "a book's asks come first": Mutant("look_books", OF_LOOK % "order by request, outcome"),
    "a book's halt isn't told": Mutant("look_books", OF_LOOK % "where outcome <> 'halted'"),
    "a book is told by order": Mutant("look_books", OF_LOOK % "cross join generate_series(1, looked.amount)"),
}


THEN = "begin return query select * from {call} as looked %s; end"
ROW = "request, outcome, order_id, shares, price, at, code, message, sym, amount, ref"


def telling(function: str, **columns: str) -> Mutant:
    """Tell something else in a column of an answer."""
    told = ", ".join(columns.get(name, name) for name in ROW.split(", "))
    return Mutant(function, f"begin return query select {told} from {{call}} as looked; end")


def frozen(function: str) -> Mutant:
    return Mutant(
        function,
        "begin if not exists (select from exchange.accounts where frozen_at is not null) then "
        "return query select * from {call}; end if; end",
    )


FAULTS: dict[str, tuple[Mutant, Callable[[Market], None]]] = {
    "a switch's time is cut": (
        telling(
            "look_accounts",
            at="case when at is not null then (select date_trunc('second', fires_at) "
            "from exchange.switches) end",
        ),
        test_an_armed_switch_is_told_in_whole_seconds_rounded_up,
    ),
    "positions stand as in a dictionary": (
        Mutant("look_accounts", THEN % "order by sym is not null, lower(sym), sym"),
        test_positions_without_anything_are_left_out_and_others_stand_in_byte_order,
    ),
    "what lies between the stages isn't reserved": (
        Mutant("order_cost", "begin return 0; end"),
        test_what_is_reserved_between_the_stages_is_in_it,
    ),
    "the amount is what is open": (
        telling("list_orders_of", amount="sign(amount) * shares"),
        test_open_orders_are_listed_by_id,
    ),
    "the newest come first": (
        Mutant("list_orders_of", THEN % "order by outcome <> 'orders', order_id desc"),
        test_open_orders_are_listed_by_id,
    ),
    "an unknown symbol is refused": (
        telling(
            "list_orders_of", outcome="case when p_requests[1].sym = 'x' then 'refused' else outcome end"
        ),
        test_open_orders_are_listed_by_id,
    ),
    "there are always more": (
        Mutant(
            "list_orders_of",
            "begin return query select * from {call}; "
            "return next (1, 'more', null, null, null, null, null, null, null, null, null)::exchange.answer; "
            "end",
        ),
        test_a_list_says_if_there_are_more,
    ),
    "a list has a hundred orders": (
        Mutant(
            "rows_asked",
            "begin return case when p_amount is null then least(p_unless_said, 100) else {call} end; end",
        ),
        test_a_list_has_a_thousand_orders_at_most,
    ),
    "a book is twenty levels deep": (
        Mutant(
            "rows_asked",
            "begin return case when p_amount is null then 2 * p_unless_said else {call} end; end",
        ),
        test_a_book_is_ten_levels_deep_unless_said,
    ),
    "refs aren't told": (telling("list_orders_of", ref="null"), test_a_list_tells_refs_and_times),
    "when it was placed isn't told": (
        telling("list_orders_of", at="at + interval '1 s'"),
        test_a_list_tells_refs_and_times,
    ),
    "an unknown symbol has an empty book": (
        telling("look_books", code="null", message="null", outcome="'book'"),
        test_an_unknown_symbol_has_no_book,
    ),
    "a position of nothing is told": (
        Mutant(
            "look_accounts",
            "begin return query select * from {call}; "
            "return next (1, 'position', null, 0, null, null, null, null, 'a', 0, null)::exchange.answer; "
            "end",
        ),
        test_positions_without_anything_are_left_out_and_others_stand_in_byte_order,
    ),
    "seq is of the change before": (
        telling("look_books", order_id="case outcome when 'book' then order_id - 1 end"),
        test_a_look_sees_the_book_after_a_whole_update,
    ),
    "an unknown account has nothing": (
        telling("look_accounts", outcome="'account'", code="null", message="null"),
        partial(test_an_account_that_does_not_exist_is_unknown, function="look_account('9')"),
    ),
    "an unknown account has no orders": (
        telling("list_orders_of", outcome="'orders'", code="null", message="null"),
        partial(test_an_account_that_does_not_exist_is_unknown, function="list_orders('9')"),
    ),
    "whoever it is sees the book": (
        telling("look_books", outcome="'book'", code="null", message="null"),
        partial(test_an_account_that_does_not_exist_is_unknown, function="look_book('9', 'X')"),
    ),
    "who is frozen has no account": (frozen("look_accounts"), who_is_frozen_may_look),
    "who is frozen has no orders": (frozen("list_orders_of"), who_is_frozen_may_look),
    "who is frozen sees no book": (frozen("look_books"), who_is_frozen_may_look),
    "a look is at what was there before its sequence": (
        Mutant(
            "cut_into_phases",
            "begin return query select phases.* from {call} as phases order by kind = 'place_order'; end",
        ),
        test_a_look_sees_what_came_before_it_in_its_sequence,
    ),
    "a look is as late as it may be": (
        Mutant(
            "cut_into_phases",
            "begin return query select phases.* from {call} as phases order by phases.kind = 'look'; end",
        ),
        test_a_look_sees_the_book_after_a_whole_update,
    ),
}


# These begin without accounts.
WITH_NOTHING = (
    test_positions_without_anything_are_left_out_and_others_stand_in_byte_order,
    test_a_list_has_a_thousand_orders_at_most,
)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found(request: pytest.FixtureRequest, fault: str) -> None:
    mutant, test = FAULTS[fault]
    market = request.getfixturevalue("market" if test in WITH_NOTHING else "traders")
    install(market.connection, mutant)
    with pytest.raises(AssertionError):
        test(market)


@pytest.mark.parametrize("number", ["0", "-1", "1001", "1.5", "NaN", "Infinity"])
@pytest.mark.parametrize(("action", "code"), [("list_orders", "invalid_max"), ("look_book", "invalid_depth")])
def test_a_number_of_rows_that_is_mended_is_found(
    traders: Market, action: str, code: str, number: str
) -> None:
    install(traders.connection, Mutant("rows_asked", "begin return 1; end"))
    with pytest.raises((AssertionError, ValueError)):
        test_what_counts_no_rows_is_refused(traders, action, code, number)


@pytest.fixture
def halted(traders: Market) -> Market:
    """A market with orders of one account in two symbols, one of them halted."""
    for amount, sym, limit in (
        (10, "X", 5),
        (1, "X", 4),
        (2, "Y", 3),
        (-3, "X", 7),
        (-4, "X", 7),
        (-1, "X", 8),
    ):
        traders.place("1", sym, amount, limit)
    traders.place("2", "X", 1, 7)
    traders.connection.execute("select exchange.halt_symbol('X')")
    return traders


def looks(market: Market) -> list[list[str]]:
    """Look at an account, its open orders and a book."""
    return [
        account(market, "1"),
        orders(market, "1"),
        orders(market, "1", "X", 1, 2),
        orders(market, "1", None, None, 0),
        book(market, "1", "X", 1),
    ]


def test_looks_are_right(halted: Market) -> None:
    listed = ["1: 10 X @ 5, 10 open", "2: 1 X @ 4, 1 open", "3: 2 Y @ 3, 2 open"]
    listed += ["4: -3 X @ 7, 2 open", "5: -4 X @ 7, 4 open", "6: -1 X @ 8, 1 open"]
    assert looks(halted) == [
        ["account 947 + 60", "X 92 + 7", "Y 7.5 + 0"],
        listed,
        [listed[1], listed[3], "more"],
        ["max 0 is not allowed: a whole number from 1 to 1000"],
        ["halted", "bid 10 @ 5 (1)", "ask 6 @ 7 (2)"],
    ]


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutated_look_would_be_found(halted: Market, mutant: str) -> None:
    right = looks(halted)
    install(halted.connection, MUTANTS[mutant])
    assert looks(halted) != right
