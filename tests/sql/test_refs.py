"""Orders that are safe to resend: the same one again under its ref, another one, and what is in flight."""

from __future__ import annotations

import psycopg
import pytest

from tests.sql.asking import ask, parse
from tests.sql.market import Connection, Market, Request, Said, literals, meeting, until_blocked
from tests.sql.mutants import Mutant, install


@pytest.fixture
def traders(market: Market) -> Market:
    """Accounts 1 and 2 with cash 1000, and 100 shares each of X and Y."""
    market.connection.execute("select exchange.begin_session()")
    for account in ("1", "2"):
        market.account(account, 1000)
        for sym in ("X", "Y"):
            market.grant(account, sym, 100)
    return market


def the_same_again(traders: Market) -> None:
    assert ask(traders, "1 order X 10 5 ref=a7") == ["opened #1"]
    # However it is written: 10.0 is 10, and who says no tif and no type says GTC and limit.
    for words in (
        "1 order X 10 5 ref=a7",
        "1 order X 10.0 5.00 ref=a7 tif=GTC",
        "1 order X 10 5 ref=a7 type=limit post=false",
    ):
        assert ask(traders, words) == ["opened #1, duplicate"]
    assert traders.book("X") == ["buy 10 @ 5 (1)"]
    assert traders.cash("1") == "950"
    assert traders.violations() == []


def test_the_same_order_again_does_nothing(traders: Market) -> None:
    the_same_again(traders)


def another_one(traders: Market) -> None:
    ask(
        traders,
        "1 order X 10 5 ref=a7",
        "1 order X 10 type=market budget=40 ref=m",
        "1 order X 5 6 ref=p stp=maker",
    )
    others = [
        "1 order Y 10 5 ref=a7",
        "1 order X 11 5 ref=a7",
        "1 order X 10 6 ref=a7",
        "1 order X -10 5 ref=a7",
        "1 order X 10 5 ref=a7 tif=IOC",
        "1 order X 10 5 ref=a7 post=true",
        "1 order X 10 5 ref=a7 stp=maker",
        "1 order X 10 type=market budget=50 ref=a7",
        "1 order X 10 type=market budget=41 ref=m",
        "1 order X 10 type=market budget=40 ref=m tif=FOK",
        "1 order X 5 6 ref=p stp=taker",
        "1 order NONE 10 5 ref=a7",
    ]
    for words in others:
        assert ask(traders, words) == ["ref_taken"], words
    ((row,),) = traders.batch([parse("1 order X 11 5 ref=a7")])
    assert row.message == "ref a7 is order 1 already"
    assert traders.violations() == []


def test_another_order_finds_the_ref_taken(traders: Market) -> None:
    another_one(traders)


def test_a_market_order_without_tif_is_ioc(traders: Market) -> None:
    ask(traders, "1 order X 10 type=market budget=40 ref=m")
    assert ask(traders, "1 order X 10.0 type=market budget=40 ref=m tif=IOC") == [
        "opened #1, filled 0, canceled 10, duplicate"
    ]


def an_accounts_own(traders: Market) -> None:
    assert ask(traders, "1 order X 1 5 ref=a", "1 order X 1 5 ref=A", "2 order X 1 5 ref=a") == [
        "opened #1",
        "opened #2",
        "opened #3",
    ]
    assert ask(traders, "1 cancel ref=A", "2 query ref=a", "2 query ref=A") == [
        "canceled #2 1",
        "open #3 1",
        "unknown_order",
    ]


def test_refs_are_an_accounts_own_and_their_case_counts(traders: Market) -> None:
    an_accounts_own(traders)


def for_good(traders: Market) -> None:
    assert ask(traders, "1 order X 10 5 ref=a", "1 cancel ref=a", "1 order X 10 5 ref=a") == [
        "opened #1",
        "canceled #1 10",
        "opened #1, duplicate",
    ]
    ask(traders, "1 order X 4 5 ref=b", "2 order X -4 5")
    assert ask(traders, "1 order X 4 5 ref=b", "1 order X 4 6 ref=b", "1 order X 9 5 ref=a") == [
        "opened #2, duplicate",
        "ref_taken",
        "ref_taken",
    ]
    assert traders.book("X") == []
    assert traders.cash("1") == "980"
    assert traders.violations() == []


def test_a_ref_is_taken_for_good(traders: Market) -> None:
    for_good(traders)


def told_as_at_first(traders: Market) -> None:
    ask(traders, "2 order X -4 5", "1 order X -3 5", "2 order X -2 6")
    first = "opened #4, filled 6, canceled 4, passed #2"
    words = "1 order X 10 6 ref=a tif=IOC stp=maker"
    assert ask(traders, words) == [first]
    ask(traders, "2 order X -9 6")
    assert ask(traders, words) == [f"{first}, duplicate"]
    # What the first one said was told, whatever this one says of the same meaning.
    assert ask(traders, "1 order X 1 5 ref=g tif=GTC") == ["opened #6, filled 0, canceled 0"]
    assert ask(traders, "1 order X 1 5 ref=g") == ["opened #6, filled 0, canceled 0, duplicate"]
    ask(traders, "2 order X -1 5")
    assert ask(traders, "1 order X 1 5 ref=g") == ["opened #6, filled 0, canceled 0, duplicate"]


def test_a_duplicate_is_told_what_the_first_was(traders: Market) -> None:
    told_as_at_first(traders)


def before_all_else(traders: Market) -> None:
    ask(traders, "1 order X 100 10 ref=a", "1 order X 1 5 ref=i tif=IOC", "1 order Y -1 9 ref=s")
    assert traders.cash("1") == "0"
    traders.connection.execute("select exchange.halt_symbol('X'), exchange.freeze_account('1')")
    assert ask(traders, "1 order X 100 10 ref=a", "1 order Y -1 9 ref=s") == [
        "opened #1, duplicate",
        "opened #2, duplicate",
    ]
    assert ask(traders, "1 order X 100 11 ref=a", "1 order NONE 100 11 ref=a") == ["ref_taken"] * 2
    assert ask(traders, "1 order X 0 10 ref=a", "1 order X 1 -1 ref=a", "1 order X 1 1 ref=!") == [
        "invalid_amount",
        "invalid_limit",
        "invalid_ref",
    ]


def test_a_ref_is_looked_up_before_all_but_the_spelling(traders: Market) -> None:
    before_all_else(traders)


def before_post_and_fok(traders: Market) -> None:
    ask(traders, "2 order X -5 5")
    orders = ["1 order X 5 5 ref=f tif=FOK", "1 order Y 5 5 ref=p post=true"]
    told = ["opened #2, filled 5, canceled 0", "opened #3"]
    assert ask(traders, *orders) == told
    # Now nothing is left to fill the one, and the other would trade.
    ask(traders, "2 order Y -5 5", "2 order Y -5 5")
    assert ask(traders, *orders) == [f"{words}, duplicate" for words in told]
    assert ask(traders, "1 order X 5 5 tif=FOK", "1 order Y 5 5 post=true") == ["unfilled", "would_trade"]
    assert traders.violations() == []


def test_a_ref_is_looked_up_before_post_only_and_fok_are_decided(traders: Market) -> None:
    before_post_and_fok(traders)


def left_free(traders: Market) -> None:
    assert ask(traders, "1 order X 1000 10 ref=a") == ["insufficient_funds"]
    assert ask(traders, "1 order X 10 10 ref=a tif=FOK") == ["unfilled"]
    assert ask(traders, "1 order X 10 10 ref=a") == ["opened #1"]
    assert ask(traders, "2 order X -1 10 ref=b post=true", "2 order X -1 11 ref=b post=true") == [
        "would_trade",
        "opened #2",
    ]
    assert ask(traders, "1 order NONE 1 1 ref=c", "1 order X 1 1 ref=c") == ["unknown_symbol", "opened #3"]
    traders.connection.execute("select exchange.halt_symbol('X')")
    assert ask(traders, "1 order X 1 1 ref=d") == ["symbol_halted"]
    traders.connection.execute("select exchange.resume_symbol('X'), exchange.freeze_account('1')")
    assert ask(traders, "1 order X 1 1 ref=d") == ["account_frozen"]
    traders.connection.execute("select exchange.unfreeze_account('1')")
    assert ask(traders, "1 order X -999 1 ref=d", "1 order X 1 1 ref=d") == [
        "insufficient_shares",
        "opened #4",
    ]


def test_a_refused_order_leaves_its_ref_free(traders: Market) -> None:
    left_free(traders)


def out_of_trading(traders: Market) -> None:
    """Orders of each kind, where their symbol is halted or their account frozen; nothing comes of them."""
    ask(traders, "2 order X -10 5")
    kinds = [
        *("5", "5 ref=a", "5 tif=GTC", "5 tif=IOC", "5 tif=FOK", "4 post=true", "5 stp=maker"),
        *("type=market budget=50", "type=market budget=50 tif=FOK"),
    ]
    orders = [f"1 order X 10 {kind}" for kind in kinds] + ["1 order X -10 type=market"]
    traders.connection.execute("select exchange.halt_symbol('X')")
    assert ask(traders, *orders) == ["symbol_halted"] * len(orders)
    traders.connection.execute("select exchange.resume_symbol('X'), exchange.freeze_account('1')")
    assert ask(traders, *orders) == ["account_frozen"] * len(orders)
    assert (traders.cash("1"), traders.shares("1", "X")) == ("1000", "100")
    assert traders.book("X") == ["sell 10 @ 5 (1)"]
    # But for those that change nothing or take back.
    traders.connection.execute("select exchange.halt_symbol('X'), exchange.freeze_account('2')")
    assert ask(traders, "2 query 1", "2 cancel 1") == ["open #1 10", "canceled #1 10"]
    assert traders.violations() == []


def test_orders_of_all_kinds_are_refused_out_of_trading(traders: Market) -> None:
    out_of_trading(traders)


def in_one_batch(traders: Market) -> None:
    assert ask(
        traders,
        "1 order X 10 5 ref=a",
        "1 order X 10 5 ref=a",
        "1 order X 1 5",
        "1 order X 11 5 ref=a",
        "1 order X -1 5 ref=b",
    ) == ["opened #1", "opened #1, duplicate", "opened #2", "ref_taken", "opened #3"]
    # The first is refused, so the second has the ref.
    assert ask(traders, "1 order X 9999 5 ref=c", "1 order X 2 5 ref=c") == [
        "insufficient_funds",
        "opened #4",
    ]
    # Of several clients: between them there is no order, but for one ref there is one order.
    rows = traders.batch([parse("2 order Y 1 5 ref=a", sequence) for sequence in range(1, 6)])
    assert [len(parts) for parts in rows] == [1, 2, 2, 2, 2]
    assert {parts[0].order_id for parts in rows} == {5}
    assert traders.violations() == []


def test_two_of_one_ref_in_one_batch(traders: Market) -> None:
    in_one_batch(traders)


def by_ref(traders: Market) -> None:
    ask(traders, "1 order X 10 5 ref=a7")
    assert ask(traders, "1 query ref=a7") == ["open #1 10"]
    assert ask(traders, "2 query ref=a7", "1 query ref=A7", "1 cancel ref=b") == ["unknown_order"] * 3
    ((row,),) = traders.batch([parse("1 query ref=a8")])
    assert row.message == "no such order: a8"
    assert ask(traders, "1 query 1 ref=a7", "1 cancel 1 ref=a7") == ["invalid_terms"] * 2
    assert ask(traders, "1 cancel ref=a7") == ["canceled #1 10"]
    ((row,),) = traders.batch([parse("1 cancel ref=a7")])
    assert (row.code, row.message) == ("nothing_open", "order 1 has no open shares to cancel")
    # An order of the same batch.
    assert ask(traders, "1 order X 3 5 ref=n", "1 query ref=n", "1 cancel ref=n") == [
        "opened #2",
        "open #2 3",
        "canceled #2 3",
    ]
    assert traders.cash("1") == "1000"


def test_a_query_and_a_cancel_by_ref(traders: Market) -> None:
    by_ref(traders)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("order X 1 5 ref=ä", "invalid_ref"),
        (f"order X 1 5 ref={'a' * 65}", "invalid_ref"),
        ("order X 1 5 tif=FOK post=true", "invalid_terms"),
        ("order X 1 5 tif=IOC post=true", "invalid_terms"),
        ("order X 1 5 budget=5", "invalid_terms"),
        ("order X 1 5 budget=0", "invalid_budget"),
        ("order X 1 5 type=market budget=5", "invalid_terms"),
        ("order X 1 type=market", "invalid_terms"),
        ("order X 1 type=market budget=5 tif=GTC", "invalid_terms"),
        ("order X 1 type=market budget=5 post=true", "invalid_terms"),
        ("order X 1 type=market budget=0.000000000000000000001", "invalid_budget"),
        ("order X -1 type=market budget=5", "invalid_terms"),
        ("order X 1", "invalid_limit"),
        ("order X 1 5 of=a", "invalid_terms"),
        ("order X 1 5 open=1", "invalid_terms"),
        ("order X 1001 type=market budget=1001", "insufficient_funds"),
        ("order X -101 type=market", "insufficient_shares"),
        (f"order X 1 5 ref={'aZ09._:-' * 8}", "opened #1"),
        ("order X 1001 type=market budget=1000", "opened #1, filled 0, canceled 1001"),
        ("order X -100 type=market tif=IOC", "opened #1, filled 0, canceled 100"),
    ],
)
def test_terms_must_be_sound(traders: Market, words: str, code: str) -> None:
    ((row, *more),) = traders.batch([parse(f"1 {words}")])
    assert ask(traders, f"2 {words}")[0].split(" ")[0] == code.split(" ")[0]
    assert (row.code or f"{row.outcome} #{row.order_id}") == code.split(",")[0]
    assert (row.message is None) == (row.outcome == "opened")
    assert [f"{part.outcome} {part.shares}" for part in more] == code.split(", ")[1:]
    assert (traders.cash("1"), traders.shares("1", "X")) == (
        "995" if more == [] and row.code is None else "1000",
        "100",
    )
    assert traders.violations() == []


def over_budget(traders: Market) -> None:
    test_terms_must_be_sound(traders, "order X 1001 type=market budget=1001", "insufficient_funds")


# --- in flight ----------------------------------------------------------------------------------------------


def reserve(connection: Connection, *requests: Request) -> list[tuple[object, ...]]:
    """Return what reserve_orders says: the request, its code or outcome, and an id."""
    return connection.execute(
        "select request, coalesce(code, outcome, 'reserved'), order_id, shares::text "
        "from exchange.reserve_orders(%s::text[]::exchange.request[])",
        [literals(requests)],
    ).fetchall()


def match_all(connection: Connection) -> None:
    connection.execute(
        "select from (select array_agg(incoming_id) as ids, array_agg(ctid) as addresses, "
        "array_agg(exchange.symbol_slot(symbol_key)) as slots from exchange.incoming_orders) as waiting, "
        "lateral exchange.match_orders(ids, addresses, slots)"
    )


def what_is_in_flight(traders: Market) -> None:
    connection = traders.connection
    assert reserve(connection, parse("1 order X 10 5 ref=a7")) == [(1, "reserved", None, None)]
    again = [parse("1 order X 10 5 ref=a7"), parse("1 order X 1 5"), parse("2 order X 1 5 ref=a7", 2)]
    assert [row[:2] for row in reserve(connection, *again)] == [(1, "locked"), (2, "locked"), (3, "reserved")]
    rows = traders.batch([parse("1 order X 10 5 ref=a7"), parse("1 order X 1 5"), parse("2 order X 1 5", 2)])
    assert [(parts[0].outcome, parts[0].code) for parts in rows] == [
        ("later", "locked"),
        ("later", "locked"),
        ("opened", None),
    ]
    assert ask(traders, "1 cancel ref=a7") == ["later"]
    assert ask(traders, "1 query ref=a7") == ["unknown_order"]
    match_all(connection)
    assert ask(traders, "1 order X 10 5 ref=a7") == ["opened #2, duplicate"]
    assert reserve(connection, *again[:2]) == [
        (2, "reserved", None, None),
        (1, "opened", 2, None),
        (1, "duplicate", None, None),
    ]


def test_what_is_in_flight_is_waited_for(traders: Market) -> None:
    what_is_in_flight(traders)


def test_a_duplicate_in_the_first_stage_is_told_all(traders: Market) -> None:
    ask(traders, "2 order X -4 5", "1 order X -3 5", "1 order X 10 6 ref=a tif=IOC stp=maker")
    orders = [
        parse("1 order X 10 6 ref=a tif=IOC stp=maker"),
        parse("2 order X 1 1", 2),
        parse("1 order X 1 1 ref=a", 3),
    ]
    assert reserve(traders.connection, *orders) == [
        (2, "reserved", None, None),
        (3, "ref_taken", None, None),
        (1, "opened", 3, None),
        (1, "filled", None, "4"),
        (1, "canceled", None, "6"),
        (1, "passed", 2, None),
        (1, "duplicate", None, None),
    ]


def test_the_second_of_a_ref_in_the_first_stage_has_its_turn_later(traders: Market) -> None:
    one = parse("1 order X 10 5 ref=a")
    orders = [one, one, parse("1 order X 1 1"), one._replace(sequence=2), parse("2 order X 1 1", 3)]
    assert [row[1] for row in reserve(traders.connection, *orders)] == [
        "reserved",
        "later",
        "later",
        "later",
        "reserved",
    ]


def test_a_session_that_dies_in_between_leaves_the_ref_free(database: str, traders: Market) -> None:
    with meeting(database, 1) as (dying,):
        dying.connection.execute("select exchange.begin_session()")
        reserve(dying.connection, parse("1 order X 10 5 ref=a7"))
        assert ask(traders, "1 order X 10 5 ref=a7") == ["later"]
        traders.connection.execute("select pg_terminate_backend(%s, 60000)", [dying.pid])
    assert ask(traders, "1 order X 10 5 ref=a7") == ["later"]
    traders.connection.execute("select exchange.give_back_orphans()")
    assert ask(traders, "1 order X 10 5 ref=a7") == ["opened #1"]
    assert traders.cash("1") == "950"
    assert traders.violations() == []


def two_sessions_meet(database: str, traders: Market) -> None:
    observer = traders.connection
    with meeting(database, 2) as (first, second):
        first.begin()
        assert ask(first.market, "1 order X 10 5 ref=a7") == ["opened #1"]
        again = second.start(ask, second.market, "1 order Y 10 5 ref=a7")
        assert until_blocked(observer, second, first, again) == "transactionid"
        first.commit()
        assert again.result() == ["ref_taken"]
    assert traders.violations() == []


def test_two_sessions_with_one_ref_meet_at_the_account(database: str, traders: Market) -> None:
    two_sessions_meet(database, traders)


def test_a_rolled_back_order_leaves_its_ref_free(database: str, traders: Market) -> None:
    with meeting(database, 2) as (first, second):
        first.begin()
        ask(first.market, "1 order X 10 5 ref=a7")
        again = second.start(ask, second.market, "1 order Y 10 5 ref=a7")
        until_blocked(traders.connection, second, first, again)
        first.connection.execute("rollback")
        assert again.result()[0].startswith("opened")


def test_people_say_it_by_name(traders: Market) -> None:
    query = (
        "select outcome, order_id, executed_shares::text, executed_value::text, open_shares::text, "
        "canceled_shares::text, passed, is_duplicate, code from exchange.{}"
    )
    ask(traders, "2 order X -4 5", "1 order X -3 5")
    said = "place_order('1', 'X', 10, 6, ref => 'a', tif => 'IOC', stp => 'maker')"
    first = ("opened", 3, "4", "20", "0", "6", [2])
    assert traders.connection.execute(query.format(said).encode()).fetchall() == [(*first, False, None)]
    assert traders.connection.execute(query.format(said).encode()).fetchall() == [(*first, True, None)]
    said = "place_order('1', 'X', 10, type => 'market', budget => 5000)"
    row = traders.connection.execute(query.format(said).encode()).fetchone()
    assert row is not None
    assert (row[0], row[-1]) == ("refused", "insufficient_funds")
    rows = traders.connection.execute("select outcome, order_id from exchange.query_order('1', ref => 'a')")
    assert rows.fetchall() == [("canceled", 3), ("executed", 3)]
    with pytest.raises(psycopg.errors.InvalidTextRepresentation):
        traders.connection.execute("select exchange.place_order('1', 'X', 1, 1, tif => 'ioc')")


# --- mutants ------------------------------------------------------------------------------------------------

_NO_LOOK = "begin return p_orders; end"
# Finds what `{column}` says there, whatever the order says itself.
_WHATEVER = """
begin
    for n in 1 .. cardinality(p_orders) loop
        p_orders[n].{column} := coalesce(
            (
                select orders.{column}
                from exchange.orders
                inner join exchange.order_terms on orders.order_id = order_terms.order_id
                where order_terms.account_key = p_orders[n].account_key
                    and order_terms.ref = (p_orders[n].terms).ref
            ),
            p_orders[n].{column}
        );
    end loop;
    return {{call}};
end
"""
# Takes the order as a new one, though it is there already.
_NEW_IF = """
declare
    v_orders exchange.reservation[] := {{call}};
begin
    for n in 1 .. cardinality(v_orders) loop
        if v_orders[n].code = 'duplicate' and {condition} then
            v_orders[n].code := null;
        end if;
    end loop;
    return v_orders;
end
"""
FAULTS = {
    "a ref is not looked up": (Mutant("resolve_terms", _NO_LOOK), the_same_again),
    "all is the same": (Mutant("is_same", "begin return true; end"), another_one),
    "case by case the same": (
        Mutant("is_same", "begin return p_terms::text = p_others::text; end"),
        the_same_again,
    ),
    "a frozen account's refs are not looked up": (
        Mutant(
            "resolve_terms",
            "declare v_orders exchange.reservation[] := {call}; begin "
            "for n in 1 .. cardinality(v_orders) loop if p_orders[n].code = 'account_frozen' then "
            "v_orders[n] := p_orders[n]; end if; end loop; return v_orders; end",
        ),
        before_all_else,
    ),
    **{
        f"{column} may differ": (Mutant("resolve_terms", _WHATEVER.format(column=column)), another_one)
        for column in ("symbol_key", "side", "shares", "limit_price")
    },
    **{
        f"{name} may differ": (
            Mutant("is_same", f"begin p_terms.{name} := (p_others).{name}; return {{call}}; end"),
            another_one,
        )
        for name in ("budget", "tif", "post", "stp")
    },
    "case doesn't count": (
        Mutant(
            "resolve_terms",
            "begin for n in 1 .. cardinality(p_orders) loop "
            "p_orders[n].terms.ref := lower((p_orders[n].terms).ref); end loop; return {call}; end",
        ),
        an_accounts_own,
    ),
    "a ref is everybody's": (
        Mutant(
            "resolve_terms",
            """
            declare
                v_orders exchange.reservation[];
            begin
                for n in 1 .. cardinality(p_orders) loop p_orders[n].account_key := 1; end loop;
                v_orders := {call};
                for n in 1 .. cardinality(v_orders) loop
                    v_orders[n].account_key := v_orders[n].holding_key >> 28;
                end loop;
                return v_orders;
            end
            """,
        ),
        an_accounts_own,
    ),
    "a ref is free once its order has ended": (
        Mutant(
            "resolve_terms",
            _NEW_IF.format(
                condition="not exists (select from exchange.resting_orders "
                "where order_id = v_orders[n].order_id)"
            ),
        ),
        for_good,
    ),
    "funds are looked at before a ref": (
        Mutant(
            "resolve_terms",
            _NEW_IF.format(
                condition="v_orders[n].side = 'buy' "
                "and v_orders[n].shares * v_orders[n].limit_price > (select cash from "
                "exchange.account_balances inner join exchange.accounts using (account_id) "
                "where account_key = v_orders[n].account_key)"
            ),
        ),
        before_all_else,
    ),
    "a halt is looked at before a ref": (
        Mutant(
            "resolve_terms",
            _NEW_IF.format(
                condition="exists (select from exchange.symbols "
                "where symbol_key = v_orders[n].symbol_key and halted_at is not null)"
            ),
        ),
        before_all_else,
    ),
    "a ref is looked up before the spelling": (
        Mutant("terms_fault", "begin return nullif({call}, 'invalid_ref'); end"),
        before_all_else,
    ),
    "how a market order says that it is IOC counts": (
        Mutant(
            "is_same",
            "begin return {call} and (p_terms).tif is not distinct from (p_others).tif; end",
        ),
        test_a_market_order_without_tif_is_ioc,
    ),
    "which order has the ref isn't told": (
        Mutant(
            "resolve_terms",
            "declare v_orders exchange.reservation[] := {call}; begin "
            "for n in 1 .. cardinality(v_orders) loop v_orders[n].message := null; end loop; "
            "return v_orders; end",
        ),
        another_one,
    ),
    "which ref is unknown isn't told": (
        Mutant("refusal", "begin p_request.terms.ref := null; return {call}; end"),
        by_ref,
    ),
    "a frozen account's orders with terms are let in": (
        Mutant(
            "resolve_terms",
            "declare v_orders exchange.reservation[] := {call}; begin "
            "for n in 1 .. cardinality(v_orders) loop v_orders[n].code := "
            "nullif(v_orders[n].code, 'account_frozen'); end loop; return v_orders; end",
        ),
        out_of_trading,
    ),
    "a halted symbol's orders are let in": (
        Mutant("load_sides", "begin update exchange.symbols set halted_at = null; return {call}; end"),
        out_of_trading,
    ),
    "a frozen account's orders can't be cancelled": (
        Mutant(
            "account_order",
            "begin if not exists (select from exchange.accounts where account_id = p_account_id "
            "and frozen_at is not null) then return query select * from {call}; end if; end",
        ),
        out_of_trading,
    ),
    "a halted symbol's orders can't be cancelled": (
        Mutant(
            "account_order",
            "begin return query select owned.* from {call} as owned where not exists (select from "
            "exchange.symbols where symbol_key = owned.symbol_key and halted_at is not null); end",
        ),
        out_of_trading,
    ),
    "a market order reserves half its budget": (
        Mutant("order_cost", "begin p_budget := p_budget / 2; return {call}; end"),
        over_budget,
    ),
    "post only is decided before its ref": (
        Mutant("resolve_terms", _NEW_IF.format(condition="(v_orders[n].terms).post")),
        before_post_and_fok,
    ),
    "FOK is decided before its ref": (
        Mutant("resolve_terms", _NEW_IF.format(condition="(v_orders[n].terms).tif = 'FOK'")),
        before_post_and_fok,
    ),
    "a refused order's ref is taken": (
        Mutant(
            "write_order_terms",
            """
            begin
                for n in 1 .. cardinality(p_incoming) loop
                    p_order_ids[n] := coalesce(p_order_ids[n], -n);
                end loop;
                return {call};
            end
            """,
        ),
        left_free,
    ),
    "who names an order by both is told of it": (
        Mutant(
            "account_order",
            "begin if p_order_id is not null then p_ref := null; end if; "
            "return query select * from {call}; end",
        ),
        by_ref,
    ),
    "a ref names anybody's order": (
        Mutant(
            "account_order",
            "begin p_account_id := coalesce((select account_id from exchange.order_terms "
            "inner join exchange.accounts using (account_key) where ref = p_ref limit 1), p_account_id); "
            "return query select * from {call}; end",
        ),
        by_ref,
    ),
    "what is in flight is overlooked": (
        Mutant("find_in_flight", "begin return array[]::integer[]; end"),
        what_is_in_flight,
    ),
    "nothing is told of the first": (
        Mutant("opened_parts", "begin return; end"),
        told_as_at_first,
    ),
    "what is told is what is now": (
        Mutant(
            "opened_parts",
            "begin return query select told.outcome, told.order_id, case told.outcome when 'filled' then "
            "(select sum(shares) from exchange.executions "
            "where p_terms.order_id in (buy_order_id, sell_order_id)) else told.shares end "
            "from {call} as told; end",
        ),
        told_as_at_first,
    ),
    "the second doesn't wait for the first": (
        Mutant(
            "resolve_terms",
            "declare v_orders exchange.reservation[] := {call}; begin "
            "for n in 1 .. cardinality(v_orders) loop "
            "if v_orders[n].code = 'later' then v_orders[n].code := null; end if; "
            "end loop; return v_orders; end",
        ),
        in_one_batch,
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found(traders: Market, fault: str) -> None:
    mutant, test = FAULTS[fault]
    install(traders.connection, mutant)
    with pytest.raises((AssertionError, psycopg.errors.UniqueViolation)):
        test(traders)


# Contradictions by what is said of them, and an order that says one.
CONTRADICTIONS = {
    "only a replace": "order X 1 5 of=a",
    "an order that is post only": "order X 1 5 tif=IOC post=true",
    "a limit order has no budget": "order X 1 5 budget=5",
    "a market order has no limit": "order X 1 5 type=market budget=5",
    "a market order never rests: its tif": "order X 1 type=market budget=5 tif=GTC",
    "a market order never rests, so": "order X 1 type=market budget=5 post=true",
    "a market order that buys": "order X 1 type=market",
    "a market order that sells": "order X -1 type=market budget=5",
}


@pytest.mark.parametrize("said", CONTRADICTIONS)
def test_a_contradiction_that_is_overlooked_is_found(traders: Market, said: str) -> None:
    overlooked = f"starts_with(exchange.contradiction(p_request), '{said}')"
    install(
        traders.connection,
        Mutant("terms_fault", f"begin return case when {overlooked} is not true then {{call}} end; end"),
    )
    with pytest.raises((AssertionError, psycopg.Error)):
        test_terms_must_be_sound(traders, CONTRADICTIONS[said], "invalid_terms")


@pytest.mark.parametrize(
    ("code", "words"), [("invalid_ref", "order X 1 5 ref=ä"), ("invalid_budget", "order X 1 5 budget=0")]
)
def test_a_spelling_that_is_overlooked_is_found(traders: Market, code: str, words: str) -> None:
    install(traders.connection, Mutant("terms_fault", f"begin return nullif({{call}}, '{code}'); end"))
    with pytest.raises((AssertionError, psycopg.Error)):
        test_terms_must_be_sound(traders, words, code)


def test_an_unlocked_account_is_found(database: str, traders: Market) -> None:
    install(
        traders.connection,
        Mutant("lock_accounts", "begin p_waits := false; select * into balances, others from {call}; end"),
    )
    with pytest.raises(AssertionError):
        two_sessions_meet(database, traders)


def test_the_requests_of_these_tests_are_what_they_say() -> None:
    assert parse("1 order X 10 5 ref=a tif=IOC") == Request(
        "place_order", "1", "X", "10", "5", said=Said(ref="a", tif="IOC")
    )
    assert parse("1 replace of=a 10 5 open=3") == Request(
        "replace_order", "1", amount="10", limit="5", said=Said(of_ref="a", if_open="3")
    )
    assert parse("1 reduce 3 to=0") == Request("reduce_order_to", "1", amount="0", order_id=3)
