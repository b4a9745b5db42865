"""The first stage of an order by itself: what is reserved, refused or has to wait, and what becomes of it."""

import random
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from decimal import Decimal, localcontext
from typing import NamedTuple

import psycopg
import pytest

from pgbourse.loadtest.reference import ReferenceExchange
from tests.sql.market import (
    Connection,
    Market,
    Request,
    Session,
    literals,
    meeting,
    replace,
    until_blocked,
    wrap,
)

NEVER_WAIT = "set lock_timeout = '1ms'"
UNWAITING = (
    "select outcome, code from exchange.process_batch(%s::text[]::exchange.request[], p_waits => false)"
)
LOCK_ACCOUNT = (
    "select from exchange.balances where account_key = "
    "(select account_key from exchange.accounts where account_id = %s) "
    "order by generation desc limit 1 for no key update"
)
LOCK_SYMBOL = (
    "select pg_advisory_xact_lock(5000, exchange.symbol_slot(symbol_key)) "
    "from exchange.symbols where sym = %s"
)


class Reserved(NamedTuple):
    """A row of reserve_orders."""

    request: int
    incoming_id: int | None
    address: str | None
    slot: int | None
    code: str | None
    message: str | None


def order(account: str, amount: object, limit: object, sym: str = "X", sequence: int = 1) -> Request:
    return Request("place_order", account, sym, str(amount), str(limit), sequence=sequence)


def reserve(
    connection: Connection, *orders: Request, certificates: Sequence[str | None] | None = None
) -> list[Reserved]:
    rows = connection.execute(
        "select request, incoming_id, address::text, slot, code, message "
        "from exchange.reserve_orders(%s::text[]::exchange.request[], %s)",
        [literals(orders, certificates), certificates is not None],
    ).fetchall()
    answers = [Reserved(*row) for row in rows]
    assert [answer.request for answer in answers] == list(range(1, len(orders) + 1))
    return answers


def match(connection: Connection, reserved: Sequence[Reserved]) -> list[str]:
    """Match what is reserved; return the outcome of each, or the code of its refusal."""
    columns = zip(*((one.incoming_id, one.address, one.slot) for one in reserved), strict=True)
    rows = connection.execute(
        "select coalesce(code, outcome) "
        "from exchange.match_orders(%s::bigint[], %s::text[]::tid[], %s::integer[])",
        [list(column) for column in columns] or [[], [], []],
    ).fetchall()
    return [row[0] for row in rows]


def codes(answers: Sequence[Reserved]) -> list[str | None]:
    return [answer.code for answer in answers]


def count_incoming(connection: Connection) -> int:
    row = connection.execute("select count(*) from exchange.incoming_orders").fetchone()
    assert row is not None
    return int(row[0])


def give_back(connection: Connection) -> int:
    row = connection.execute("select exchange.give_back_orphans()").fetchone()
    assert row is not None
    return int(row[0])


@pytest.fixture
def traders(market: Market) -> Market:
    """Accounts 1 to 3 with cash 1000, and 100 shares each of X and Y."""
    market.connection.execute("select exchange.begin_session()")
    for account in ("1", "2", "3"):
        market.account(account, 1000)
        for sym in ("X", "Y"):
            market.grant(account, sym, 100)
    return market


def test_what_an_order_can_cost_is_taken_and_nothing_else_happens(traders: Market) -> None:
    buy, sell = reserve(traders.connection, order("1", 10, 20), order("2", -30, 5, "Y"))
    assert codes([buy, sell]) == [None, None]
    assert (traders.cash("1"), traders.shares("2", "Y")) == ("800", "70")
    rows = traders.connection.execute(
        "select incoming_id, account_key, symbol_key, side::text, trim_scale(shares)::text, "
        "trim_scale(limit_price)::text, session_pid = pg_backend_pid(), ctid::text "
        "from exchange.incoming_orders order by incoming_id"
    ).fetchall()
    assert rows == [
        (buy.incoming_id, 1, 1, "buy", "10", "20", True, buy.address),
        (sell.incoming_id, 2, 2, "sell", "30", "5", True, sell.address),
    ]
    assert [buy.slot, sell.slot] == [1, 2]
    assert traders.book("X") == traders.book("Y") == []
    assert traders.violations() == []
    assert match(traders.connection, [buy, sell]) == ["opened", "opened"]
    assert traders.book("X") == ["buy 10 @ 20 (1)"]
    assert count_incoming(traders.connection) == 0
    assert traders.violations() == []


def test_each_order_is_refused_for_its_own_reason(traders: Market) -> None:
    traders.connection.execute("select exchange.freeze_account('3')")
    answers = reserve(
        traders.connection,
        order("9", 1, 1, sequence=1),
        order("1", 0, 1, sequence=2),
        order("1", 1, -1, sequence=3),
        order("1", 1, 1, "NONE", sequence=4),
        order("3", 1, 1, sequence=5),
        order("1", 1001, 1, sequence=6),
        order("1", -101, 1, sequence=7),
        order("1", 1000, 1, sequence=8),
    )
    assert codes(answers) == [
        "unknown_account",
        "invalid_amount",
        "invalid_limit",
        "unknown_symbol",
        "account_frozen",
        "insufficient_funds",
        "insufficient_shares",
        None,
    ]
    assert [answer.message for answer in answers[5:]] == [
        "insufficient funds: 1001 needed, 1000 available",
        "insufficient shares of X: 101 needed, 100 available",
        None,
    ]
    assert count_incoming(traders.connection) == 1
    assert traders.violations() == []


def stops_where_proceeds_may_pay(traders: Market) -> None:
    answers = reserve(
        traders.connection,
        order("1", -1, 5, sequence=7),
        order("1", 1000, 2, sequence=7),  # the sell may bring it
        order("2", 1, 1, sequence=7),
        order("2", 1000, 2, sequence=8),  # nothing precedes it
        order("2", 1, 1, sequence=8),
        order("9", 1, 1, sequence=7),
    )
    assert codes(answers) == [None, "later", "later", "insufficient_funds", None, "later"]
    assert [answer.incoming_id is None for answer in answers] == [False, True, True, True, False, True]
    assert traders.violations() == []


def test_a_sequence_stops_where_its_own_proceeds_may_pay(traders: Market) -> None:
    stops_where_proceeds_may_pay(traders)


def place_in_stages(connection: Connection, orders: Sequence[Request]) -> list[str | None]:
    """Place orders as a gateway does: reserve, match, again what had to wait; return why each was refused."""
    refused: dict[int, str | None] = {}
    waiting = list(range(len(orders)))
    while waiting:
        answers = reserve(connection, *(orders[place] for place in waiting))
        taken = [answer for answer in answers if answer.incoming_id is not None]
        assert set(match(connection, taken)) <= {"opened"}
        refused |= {
            place: answer.code
            for place, answer in zip(waiting, answers, strict=True)
            if answer.code != "later"
        }
        waiting = [place for place, answer in zip(waiting, answers, strict=True) if answer.code == "later"]
    return [refused[place] for place in range(len(orders))]


def refused_alike(market: Market, count: int = 150) -> None:
    """Poor accounts live on what their earlier orders bring: each is refused what it would be one by one."""
    chance, model = random.Random(5), ReferenceExchange()
    for account in range(1, 5):
        market.account(str(account), 40)
        model.create_account(str(account), Decimal(40))
        market.grant(str(account), "X", 4)
        model.grant_shares("X", str(account), Decimal(4))
    orders = [
        order(str(chance.randint(1, 4)), chance.choice([-1, 1]) * chance.randint(1, 4), chance.randint(8, 12))
        for _ in range(count)
    ]
    expected: list[str | None] = []
    with localcontext(prec=100):
        for number, request in enumerate(orders, 1):
            placed = model.place_order(
                request.account or "", "X", Decimal(request.amount or 0), Decimal(request.limit or 0)
            )
            expected.append(placed if isinstance(placed, str) else None)
            if not isinstance(placed, str):
                model.number(placed, number)
    assert place_in_stages(market.connection, orders) == expected
    assert 10 < sum(code is not None for code in expected) < count - 10
    assert market.violations() == []


def test_poor_accounts_are_refused_what_they_would_be_one_by_one(market: Market) -> None:
    market.connection.execute("select exchange.begin_session()")
    refused_alike(market)


def test_in_one_transaction_as_well(market: Market) -> None:
    """Credits of the transaction itself can be spent in its next round."""
    market.account("1", 10)
    market.account("2", 1000)
    market.grant("1", "X", 1)
    market.place("2", "X", 1, 10)
    one = order("1", -1, 10)
    answers = market.batch([one, order("1", 2, 10), one, one, one])
    assert [answer.code for (answer,) in answers] == [
        None,
        None,
        "insufficient_shares",
        "insufficient_shares",
        "insufficient_shares",
    ]
    market.place("2", "X", -1, 10)
    market.place("2", "X", 1, 11)
    answers = market.batch([one, order("1", 1, 10), one])
    assert [answer.code for (answer,) in answers] == [None, None, "insufficient_shares"]
    assert market.violations() == []


def looked_at(market: Market, swaps: int) -> int:
    """Let two accounts live on a share that goes to and fro; return how many orders were looked at."""
    wrap(
        market.connection,
        "reserve",
        "begin perform setval('exchange.looked_at', nextval('exchange.looked_at') "
        "+ cardinality(p_requests) - 1); return {call}; end",
    )
    market.connection.execute(
        "create sequence exchange.looked_at; alter sequence exchange.looked_at owner to exchange_owner"
    )
    market.account("1", 10)
    market.account("2", 0)
    market.grant("2", "X", 1)
    orders = [
        order(account, amount, 10)
        for swap in range(swaps)
        for account, amount in (("12"[swap % 2], 1), ("21"[swap % 2], -1))
    ]
    answers = market.batch(orders)
    assert [answer.outcome for (answer,) in answers] == ["opened"] * len(orders)
    assert market.violations() == []
    row = market.connection.execute("select last_value from exchange.looked_at").fetchone()
    assert row is not None
    return int(row[0])


def test_orders_that_wait_for_each_other_are_not_looked_at_again_and_again(market: Market) -> None:
    assert looked_at(market, 100) <= 200 + 100 * 8


def somebody_elses_account(database: str, traders: Market) -> None:
    with meeting(database, 1) as (rival,):
        rival.begin()
        rival.connection.execute(LOCK_ACCOUNT, ["1"])
        traders.connection.execute(NEVER_WAIT)
        answers = reserve(
            traders.connection,
            order("2", 1, 1, sequence=1),
            order("1", 1, 1, sequence=1),
            order("2", 1, 1, sequence=1),
            order("3", 1, 1, sequence=2),
            order("2", 1, 1, sequence=3),
        )
        assert codes(answers) == [None, "locked", "locked", None, None]
        assert count_incoming(traders.connection) == 3
        rival.commit()
    assert codes(reserve(traders.connection, order("1", 1, 1))) == [None]
    assert traders.violations() == []


def test_an_account_that_somebody_else_has_is_not_waited_for(database: str, traders: Market) -> None:
    somebody_elses_account(database, traders)


def test_an_account_without_a_balance_is_never_locked(database: str, traders: Market) -> None:
    traders.connection.execute("delete from exchange.balances where account_key = 1")
    assert codes(reserve(traders.connection, order("1", 1, 1))) == ["unknown_account"]


def test_no_symbol_is_waited_for(database: str, traders: Market) -> None:
    with meeting(database, 1) as (rival,):
        rival.begin()
        rival.connection.execute(LOCK_SYMBOL, ["X"])
        traders.connection.execute(NEVER_WAIT)
        assert codes(reserve(traders.connection, order("1", 1, 1))) == [None]


def test_a_session_that_waits_for_the_flush_holds_nobody_up(database: str, traders: Market) -> None:
    """Orders of an account are reserved for and matched while another session has its symbol's lock."""
    with meeting(database, 1) as (rival,):
        rival.begin()
        rival.market.place("2", "X", 1, 1)
        traders.connection.execute(NEVER_WAIT)
        reserved = reserve(traders.connection, order("1", 1, 1, "Y"), order("1", 1, 1, "X"))
        assert match(traders.connection, reserved[:1]) == ["opened"]
        rival.commit()
    assert match(traders.connection, reserved[1:]) == ["opened"]


@pytest.fixture
def begun(database: str) -> Iterator[Session]:
    """A session that reserves, as a gateway's."""
    with meeting(database, 1) as (session,):
        session.connection.execute("select exchange.begin_session()")
        yield session


def what_the_dead_leave(database: str, traders: Market, begun: Session) -> None:
    with meeting(database, 1) as (dying,):
        dying.connection.execute("select exchange.begin_session()")
        reserve(dying.connection, *(order("1", 1, 5), order("2", -3, 9)) * 10)
        (kept,) = reserve(begun.connection, order("3", 1, 7))
        assert give_back(traders.connection) == 0
        dying.connection.execute("begin")
        reserve(dying.connection, order("1", 1, 5))
        traders.connection.execute("select pg_terminate_backend(%s, 60000)", [dying.pid])
    assert count_incoming(traders.connection) == 21
    assert (traders.cash("1"), traders.shares("2", "X")) == ("950", "70")
    assert give_back(traders.connection) == 20
    assert give_back(traders.connection) == 0
    assert (traders.cash("1"), traders.shares("2", "X"), traders.cash("3")) == ("1000", "100", "993")
    assert traders.violations() == []
    assert match(begun.connection, [kept]) == ["opened"]


def test_what_a_dead_session_has_reserved_is_given_back(
    database: str, traders: Market, begun: Session
) -> None:
    what_the_dead_leave(database, traders, begun)


def test_what_was_given_back_is_gone_for_a_match(database: str, traders: Market) -> None:
    with meeting(database, 1) as (dying,):
        dying.connection.execute("select exchange.begin_session()")
        reserved = reserve(dying.connection, order("1", 1, 5), order("1", 1, 6))
        traders.connection.execute("select pg_terminate_backend(%s, 60000)", [dying.pid])
    assert match(traders.connection, reserved[:1]) == ["opened"]
    assert give_back(traders.connection) == 1
    assert match(traders.connection, reserved) == ["gone", "gone"]
    assert traders.cash("1") == "995"
    assert traders.violations() == []


def test_a_new_session_is_not_taken_for_a_dead_one(traders: Market) -> None:
    """Process numbers come round again."""
    reserve(traders.connection, order("1", 1, 5))
    row = traders.connection.execute("select exchange.begin_session()").fetchone()
    assert row == (1,)
    assert count_incoming(traders.connection) == 0
    assert traders.cash("1") == "1000"
    assert traders.violations() == []


def test_a_session_that_has_not_begun_can_be_given_back_from(database: str, traders: Market) -> None:
    with meeting(database, 1) as (careless,):
        reserve(careless.connection, order("1", 1, 5))
        assert give_back(traders.connection) == 1
    assert traders.violations() == []


def frozen_for_good(traders: Market, begun: Session) -> None:
    reserved = reserve(begun.connection, order("1", 1, 5), order("1", -4, 50), order("2", 1, 5))
    traders.place("1", "X", 2, 4)
    row = traders.connection.execute("select outcome from exchange.freeze_account('1')").fetchone()
    assert row == ("frozen",)
    assert match(begun.connection, reserved) == ["gone", "gone", "opened"]
    assert codes(reserve(begun.connection, order("1", 1, 5))) == ["account_frozen"]
    cancel = "select outcome from exchange.cancel_open_orders('1')"
    assert traders.connection.execute(cancel).fetchall() == [("canceled",)]
    assert (traders.cash("1"), traders.shares("1", "X")) == ("1000", "100")
    assert traders.book("X") == ["buy 1 @ 5 (2)"]
    assert traders.violations() == []


def test_what_a_frozen_account_has_reserved_does_not_reach_the_market(
    traders: Market, begun: Session
) -> None:
    frozen_for_good(traders, begun)


def test_a_freeze_waits_for_a_match_that_has_the_order(
    database: str, traders: Market, begun: Session
) -> None:
    """Once it has frozen, every order of the account is in the book or given back."""
    (reserved,) = reserve(begun.connection, order("1", 1, 5))
    with meeting(database, 1) as (freezer,):
        begun.begin()
        assert match(begun.connection, [reserved]) == ["opened"]
        freeze = "select outcome from exchange.freeze_account('1')"
        call: Future[psycopg.Cursor[tuple[object, ...]]] = freezer.start(freezer.connection.execute, freeze)
        assert until_blocked(traders.connection, freezer, begun, call) == "transactionid"
        begun.commit()
        assert call.result().fetchall() == [("frozen",)]
    assert traders.book("X") == ["buy 1 @ 5 (1)"]
    assert traders.cash("1") == "995"


def test_only_orders_are_reserved_for(traders: Market) -> None:
    for action in ("query_order", "create_account", "later", None):
        with pytest.raises(psycopg.Error, match="only orders") as refused:
            reserve(traders.connection, order("1", 1, 1), Request(action, "1"))  # type: ignore[arg-type]
        assert refused.value.sqlstate == "EX001"
    assert reserve(traders.connection) == []


def test_crooked_arrays_and_old_snapshots_are_refused(traders: Market) -> None:
    with pytest.raises(psycopg.Error) as refused:
        traders.connection.execute("select exchange.reserve_orders('{null}')")
    assert refused.value.sqlstate == "EX002"
    traders.connection.execute("set default_transaction_isolation = 'repeatable read'")
    with pytest.raises(psycopg.Error) as refused:
        reserve(traders.connection, order("1", 1, 1))
    assert refused.value.sqlstate == "EX003"


def test_a_certificate_reserves_for_its_own_accounts(traders: Market) -> None:
    traders.connection.execute(
        "insert into exchange.certificate_accounts (certificate_name, account_id) values ('ann', '1')"
    )
    answers = reserve(
        traders.connection, order("2", 1, 1), order("1", 1, 1), order("1", 1, 1), certificates=["ann", "ann"]
    )
    assert codes(answers) == ["not_permitted", None, "not_permitted"]
    assert answers[0].message is not None
    assert "ann may not act for account 2" in answers[0].message
    assert traders.cash("2") == "1000"


def what_is_locked_is_left_out(database: str, traders: Market) -> None:
    placed = traders.place("3", "X", 1, 1)
    requests = [
        order("1", 1, 1, "Y", sequence=1),  # the account
        Request("query_order", "3", order_id=placed, sequence=1),
        order("2", 1, 1, "X", sequence=2),  # the symbol
        order("2", 1, 1, "Y", sequence=2),
        Request("cancel_order", "3", order_id=placed, sequence=3),
        Request("create_account", "7", amount="5", sequence=4),
        order("3", 1, 1, "Y", sequence=5),
        order("2", 1, 1, "Y", sequence=6),
        order("9", 1, 1, "Y", sequence=7),
        order("2", 1, 1, "NONE", sequence=8),
        Request("query_order", "3", order_id=placed, sequence=9),
    ]
    with meeting(database, 1) as (rival,):
        rival.begin()
        rival.connection.execute("select pg_advisory_xact_lock(5001, 0)")
        rival.connection.execute(LOCK_SYMBOL, ["X"])
        rival.connection.execute(LOCK_ACCOUNT, ["1"])
        traders.connection.execute(NEVER_WAIT)
        rows = traders.connection.execute(
            UNWAITING,
            [literals(requests)],
        ).fetchall()
        rival.commit()
    later = ("later", "locked")
    assert rows == [
        *[later] * 6,
        ("opened", None),
        ("opened", None),
        ("refused", "unknown_account"),
        ("refused", "unknown_symbol"),
        ("open", None),
    ]
    assert traders.book("X") == [f"buy 1 @ 1 ({placed})"]
    assert traders.violations() == []


def test_a_batch_that_does_not_wait_leaves_out_what_is_locked(database: str, traders: Market) -> None:
    what_is_locked_is_left_out(database, traders)


def test_one_that_finds_nothing_locked_does_everything(traders: Market) -> None:
    requests = [
        Request("create_account", "7", amount="50"),
        Request("grant_shares", "7", "NEW", "5"),
        order("7", -5, 2, "NEW"),
        order("1", 5, 2, "NEW"),
        Request("cancel_order", "7", order_id=1),
    ]
    rows = traders.connection.execute(
        UNWAITING,
        [literals(requests)],
    ).fetchall()
    assert rows == [
        ("created", None),
        ("created", None),
        ("opened", None),
        ("opened", None),
        ("refused", "nothing_open"),
    ]
    assert traders.violations() == []


def test_what_is_owed_is_folded_only_where_it_is_needed(traders: Market) -> None:
    traders.connection.execute("select exchange.settle_idle_accounts()")
    sell = order("2", -1, 10)
    traders.batch([order("1", 3, 10), sell, sell, sell])
    owed = "select sum(cash)::text from exchange.credits where account_key = 2"
    assert traders.connection.execute(owed).fetchone() == ("30",)
    traders.place("2", "X", 100, 10)
    assert traders.connection.execute(owed).fetchone() == ("30",)
    traders.place("2", "X", 3, 10)
    assert traders.connection.execute(owed).fetchone() == (None,)
    assert traders.cash("2") == "0"
    assert traders.violations() == []


RETURN_ORDERS = """
    begin
        select decided.orders, decided.holdings into orders, holdings from {call} as decided;
        %s
    end
"""
MUTANTS = {
    "what may be paid for later is refused": (
        "reserve_one_by_one",
        RETURN_ORDERS
        % """
        for i in 1 .. cardinality(orders) loop
            if orders[i].code = 'later' then
                orders[i].code := 'insufficient_funds';
            end if;
        end loop;
        """,
    ),
    "a sequence does not stop": (
        "reserve_one_by_one",
        """
        begin
            select decided.orders, decided.holdings into orders, holdings
            from exchange.wrapped_reserve_one_by_one(
                array(
                    select (
                        place, place, account_key, symbol_key, side, shares, limit_price, holding_key, code,
                        message, terms, order_id
                    )::exchange.reservation
                    from unnest(p_orders) order by place
                ),
                p_holdings
            ) as decided;
        end
        """,
    ),
    "what follows a stop is reserved for": (
        "reserve_one_by_one",
        RETURN_ORDERS
        % """
        for i in 2 .. cardinality(orders) loop
            if orders[i].code = 'later' and orders[i - 1].code = 'later' then
                orders[i].code := p_orders[i].code;
            end if;
        end loop;
        """,
    ),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_sequence_that_does_not_wait_is_found_out(traders: Market, mutant: str) -> None:
    wrap(traders.connection, *MUTANTS[mutant])
    with pytest.raises(AssertionError):
        stops_where_proceeds_may_pay(traders)


@pytest.mark.parametrize("mutant", list(MUTANTS)[:2])
def test_and_by_what_poor_accounts_are_refused(market: Market, mutant: str) -> None:
    market.connection.execute("select exchange.begin_session()")
    wrap(market.connection, *MUTANTS[mutant])
    with pytest.raises(AssertionError):
        refused_alike(market)


def test_own_credits_that_are_left_out_are_found_out(market: Market) -> None:
    """What a transaction has settled does not end behind itself."""
    replace(market.connection, "settled_since", "select p_settled_before", "sql")
    wrap(
        market.connection,
        "settle_accounts",
        """
        begin
            perform {call};
            update exchange.balances
            set settled_before = (pg_current_xact_id()::text::bigint + 1)::text::xid8
            where account_key = any(p_account_keys);
        end
        """,
    )
    with pytest.raises(AssertionError):
        test_in_one_transaction_as_well(market)


WAITING = """
    begin
        select locked.balances, locked.others into balances, others
        from exchange.wrapped_lock_accounts(p_account_ids, true) as locked;
    end
"""
BOLD = """
    begin
        balances := exchange.load_balances(array(
            select account_key from exchange.accounts where account_id = any(p_account_ids) order by 1
        ));
    end
"""


@pytest.mark.parametrize("mutant", [WAITING, BOLD], ids=["waits", "takes what is locked"])
def test_a_lock_that_is_not_skipped_is_found_out(database: str, traders: Market, mutant: str) -> None:
    wrap(traders.connection, "lock_accounts", mutant)
    with pytest.raises((AssertionError, psycopg.errors.LockNotAvailable)):
        somebody_elses_account(database, traders)


MARKS = """
    begin
        return array(
            select ({fields})::exchange.request
            from unnest(p_requests) with ordinality as asked (
                sequence, action, account_id, sym, amount, limit_price, order_id, certificate_name,
                terms, place
            )
            inner join unnest({call}) with ordinality as marked (
                s, marked_action, a, y, m, l, o, c, t, place
            ) using (place)
            order by place
        );
    end
""".replace(
    "{fields}", "sequence, {action}, account_id, sym, amount, limit_price, order_id, certificate_name, terms"
)
ALONE = """
    case
        when lag(marked_action) over (partition by sequence order by place) = 'later' then action
        else marked_action
    end
"""


@pytest.mark.parametrize("action", ["action", ALONE], ids=["nothing is marked", "not what follows"])
def test_what_is_locked_and_not_marked_is_found_out(database: str, traders: Market, action: str) -> None:
    wrap(traders.connection, "mark_later", MARKS.replace("{action}", action))
    with pytest.raises((AssertionError, psycopg.errors.LockNotAvailable)):
        what_is_locked_is_left_out(database, traders)


def test_giving_back_from_the_living_is_found_out(database: str, traders: Market, begun: Session) -> None:
    replace(
        traders.connection,
        "give_back_orphans",
        "declare v exchange.incoming_orders[]; begin "
        "with deleted as (delete from exchange.incoming_orders returning incoming_orders as incoming) "
        "select array_agg(incoming) into v from deleted; return exchange.give_back(v); end",
    )
    with pytest.raises(AssertionError):
        what_the_dead_leave(database, traders, begun)


GIVES_BACK = {
    "nothing": "begin return coalesce(cardinality(p_incoming), 0); end",
    "twice": "begin perform {call}; return {call}; end",
    "money for shares": """
        declare
            v_last bigint := coalesce((select max(credit_id) from exchange.credits), 0);
            v_count bigint := {call};
        begin
            update exchange.credits set shares = cash, cash = shares where credit_id > v_last;
            return v_count;
        end
    """,
}


@pytest.mark.parametrize("mutant", GIVES_BACK)
def test_giving_back_something_else_is_found_out(
    database: str, traders: Market, begun: Session, mutant: str
) -> None:
    wrap(traders.connection, "give_back", GIVES_BACK[mutant])
    with pytest.raises(AssertionError):
        what_the_dead_leave(database, traders, begun)
    with pytest.raises(AssertionError):
        frozen_for_good(traders, begun)


def test_a_reservation_that_costs_nothing_is_found_out(traders: Market) -> None:
    replace(
        traders.connection,
        "order_cost",
        "select case p_side when 'buy' then p_shares else p_limit_price end",
        "sql",
    )
    with pytest.raises(AssertionError):
        test_what_an_order_can_cost_is_taken_and_nothing_else_happens(traders)
