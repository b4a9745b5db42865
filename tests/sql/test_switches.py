"""The dead man's switch: when it fires, what it cancels, and that it fires once."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.sql.asking import ask, parse
from tests.sql.market import Market, meeting, until_blocked
from tests.sql.mutants import Mutant, install


@pytest.fixture
def traders(market: Market) -> Market:
    """Accounts 1 and 2 with cash 1000 and 100 shares of X, and two open orders of 1."""
    for account in ("1", "2"):
        market.account(account, 1000)
        market.grant(account, "X", 100)
    ask(market, "1 order X 10 5", "1 order X -20 9")
    return market


def switches(market: Market) -> list[tuple[object, ...]]:
    return market.connection.execute(
        "select account_key, after_seconds from exchange.switches order by account_key"
    ).fetchall()


def pass_by(market: Market, seconds: float = 100000) -> None:
    """Let time pass, for the switches."""
    market.connection.execute(
        "update exchange.switches set fires_at = fires_at - make_interval(secs => %s)", [seconds]
    )


def fire(market: Market, limit: int = 1) -> list[tuple[object, ...]]:
    return market.connection.execute("select * from exchange.fire_switches(%s)", [limit]).fetchall()


def it_is_armed(traders: Market) -> None:
    before = traders.connection.execute("select ceil(extract(epoch from clock_timestamp()) + 60)").fetchone()
    ((row,),) = traders.batch([parse("1 arm 60")])
    after = traders.connection.execute("select ceil(extract(epoch from clock_timestamp()) + 60)").fetchone()
    assert before is not None
    assert after is not None
    assert row.outcome == "armed"
    assert row.at is not None
    assert before[0] <= row.at <= after[0]
    # It fires when it says.
    fires_at = traders.connection.execute(
        "select extract(epoch from fires_at) from exchange.switches"
    ).fetchone()
    assert fires_at == (row.at,)
    # The last word counts.
    assert ask(traders, "1 arm 5")[0].startswith("armed")
    assert switches(traders) == [(1, 5)]
    assert ask(traders, "1 disarm", "1 disarm") == ["disarmed", "disarmed"]
    assert switches(traders) == []
    assert ask(traders, "1 arm 86400", "2 arm 1", "1 cancel-all", "2 disarm")[2].startswith("canceled_all")
    assert switches(traders) == [(1, 86400)]  # cancel all leaves it armed


def test_it_is_armed_and_disarmed(traders: Market) -> None:
    it_is_armed(traders)


SECONDS = ["0", "-1", "0.5", "86401", "1.00000000000000000001", ""]


@pytest.mark.parametrize("seconds", SECONDS)
def test_seconds_are_a_whole_number_up_to_a_day(traders: Market, seconds: str) -> None:
    whole_seconds(traders, seconds)


def whole_seconds(traders: Market, seconds: str) -> None:
    ((row,),) = traders.batch([parse("1 arm 1")._replace(amount=seconds or None)])
    assert (row.outcome, row.code) == ("refused", "invalid_seconds")
    assert switches(traders) == []


def test_an_unknown_account(traders: Market) -> None:
    assert ask(traders, "9 arm 60", "9 disarm", "9 fire") == ["unknown_account", "unknown_account", "not_due"]


def never_earlier(traders: Market) -> None:
    ask(traders, "1 arm 60", "2 arm 60")
    assert fire(traders) == []
    assert ask(traders, "1 fire") == ["not_due"]
    traders.connection.execute("update exchange.switches set fires_at = clock_timestamp() + interval '30 s'")
    assert fire(traders, 9) == []
    assert ask(traders, "1 query 1", "1 query 2") == ["open #1 10", "open #2 20"]


def test_it_never_fires_earlier(traders: Market) -> None:
    never_earlier(traders)


def fires_once(traders: Market) -> None:
    ask(traders, "1 arm 60", "1 order X 1 4")  # what is open then
    pass_by(traders)
    assert fire(traders) == [("1", 3)]
    assert fire(traders) == []
    assert ask(traders, "1 query 1", "1 query 2", "1 query 3") == [
        "canceled #1 10",
        "canceled #2 20",
        "canceled #3 1",
    ]
    assert ask(traders, "1 order X 1 4") == ["opened #4"]
    assert fire(traders) == []
    assert (traders.cash("1"), traders.shares("1", "X")) == ("996", "100")
    assert traders.violations() == []


def test_it_fires_once_and_cancels_what_is_open_then(traders: Market) -> None:
    fires_once(traders)


def test_a_batch_can_tell_of_it_as_well(traders: Market) -> None:
    ask(traders, "1 arm 60", "2 arm 60")
    pass_by(traders)
    assert ask(traders, "1 fire", "1 fire", "2 fire") == [
        "fired, canceled #1 10, canceled #2 20",
        "not_due",
        "fired",
    ]


def on_halts_and_freezes(traders: Market) -> None:
    ask(traders, "1 arm 60")
    traders.connection.execute("select exchange.halt_symbol('X'), exchange.freeze_account('1')")
    pass_by(traders)
    assert ask(traders, "1 arm 10", "1 disarm", "1 arm 10")[0].startswith("armed")
    pass_by(traders)
    assert fire(traders) == [("1", 2)]


def test_for_frozen_accounts_and_halted_symbols(traders: Market) -> None:
    on_halts_and_freezes(traders)


def test_so_many_accounts_at_a_time(traders: Market) -> None:
    ask(traders, "1 arm 60", "2 arm 60")
    pass_by(traders)
    fired = fire(traders, 1)
    assert len(fired) == 1
    assert sorted(fired + fire(traders, 1)) == [("1", 2), ("2", 0)]
    assert fire(traders, 5) == []


def an_account_that_is_locked(database: str, traders: Market) -> None:
    ask(traders, "1 arm 60", "2 arm 60")
    pass_by(traders)
    with meeting(database, 1) as (rival,):
        rival.begin()
        ask(rival.market, "1 order X 1 4")
        # Whichever comes first: the other one isn't held up for long.
        assert fire(traders, 5) == [("2", 0)]
        assert fire(traders, 5) == []
        rival.commit()
    assert fire(traders, 5) == [("1", 3)]


def test_an_account_that_somebody_else_has_is_left_for_the_next_sweep(database: str, traders: Market) -> None:
    an_account_that_is_locked(database, traders)


def two_sweeps(database: str, traders: Market) -> None:
    ask(traders, "1 arm 60")
    pass_by(traders)
    with meeting(database, 2) as (first, second):
        first.begin()
        assert fire(first.market) == [("1", 2)]
        call = second.start(fire, second.market)
        until_blocked(traders.connection, second, first, call)
        first.commit()
        assert call.result() == []
    assert traders.violations() == []


def test_two_gateways_fire_it_once(database: str, traders: Market) -> None:
    two_sweeps(database, traders)


def rearmed(database: str, traders: Market) -> None:
    """Who says it again in time isn't cancelled, though a sweep has seen the old time."""
    ask(traders, "1 arm 60")
    pass_by(traders)
    with meeting(database, 2) as (client, sweep):
        client.begin()
        ask(client.market, "1 arm 60")
        call = sweep.start(fire, sweep.market)
        until_blocked(traders.connection, sweep, client, call)
        client.commit()
        assert call.result() == []
    assert ask(traders, "1 query 1") == ["open #1 10"]


def test_who_arms_it_again_in_time_is_not_cancelled(database: str, traders: Market) -> None:
    rearmed(database, traders)


def test_on_a_read_only_database_nothing_fires(traders: Market) -> None:
    ask(traders, "1 arm 60")
    pass_by(traders)
    traders.connection.execute("begin read only")
    assert fire(traders) == []
    traders.connection.execute("rollback")
    assert fire(traders) == [("1", 2)]


def test_people_call_it(traders: Market) -> None:
    query = (
        "select outcome, fires_at > clock_timestamp() + interval '59 s', code from exchange.arm_switch({})"
    )
    row = traders.connection.execute(query.format("'1', 60").encode()).fetchone()
    assert row == ("armed", True, None)
    row = traders.connection.execute(query.format("'1', 0").encode()).fetchone()
    assert row == ("refused", None, "invalid_seconds")
    row = traders.connection.execute("select outcome, code from exchange.disarm_switch('1')").fetchone()
    assert row == ("disarmed", None)
    assert switches(traders) == []


FAULTS: dict[str, tuple[Mutant, Callable[[Market], None]]] = {
    "it fires early": (
        Mutant(
            "cancel_all_of_one",
            "begin update exchange.switches set fires_at = fires_at - interval '1 day'; "
            "return query select * from {call}; end",
        ),
        never_earlier,
    ),
    "it stays armed": (
        Mutant(
            "cancel_all_of_one",
            "declare v exchange.switches[] := array(select s from exchange.switches as s); begin "
            "return query select * from {call}; insert into exchange.switches select * from unnest(v) "
            "on conflict do nothing; end",
        ),
        fires_once,
    ),
    "the first word counts": (
        Mutant(
            "set_switch",
            "declare v exchange.switches := (select s from exchange.switches as s); a exchange.answer; begin "
            "a := {call}; update exchange.switches set after_seconds = v.after_seconds "
            "where v.after_seconds is not null; return a; end",
        ),
        it_is_armed,
    ),
    "disarming leaves it armed": (
        Mutant(
            "set_switch",
            "declare v exchange.switches[] := array(select s from exchange.switches as s); "
            "a exchange.answer; begin a := {call}; insert into exchange.switches select * from unnest(v) "
            "on conflict do nothing; return a; end",
        ),
        it_is_armed,
    ),
    "cancelling all disarms it": (
        Mutant(
            "cancel_all_of_one",
            "begin return query select * from {call}; "
            "if p_request.action = 'cancel_all' then delete from exchange.switches; end if; end",
        ),
        it_is_armed,
    ),
    "only what was open when it was armed": (
        Mutant("resting_of", "begin return query select told.* from {call} as told where order_id <= 2; end"),
        fires_once,
    ),
    "not for frozen accounts": (
        Mutant(
            "cancel_all_of_one",
            "begin if exists (select from exchange.accounts where frozen_at is not null) then "
            "p_request.account_id := null; end if; return query select * from {call}; end",
        ),
        on_halts_and_freezes,
    ),
    "not in halted symbols": (
        Mutant(
            "resting_of",
            "begin return query select told.* from {call} as told where symbol_key not in "
            "(select symbol_key from exchange.symbols where halted_at is not null); end",
        ),
        on_halts_and_freezes,
    ),
    "who is frozen can't arm it": (
        Mutant(
            "set_switch",
            "begin if exists (select from exchange.accounts where frozen_at is not null) then "
            "p_request.account_id := null; end if; return {call}; end",
        ),
        on_halts_and_freezes,
    ),
    "it is told rounded up, and fires before": (
        Mutant(
            "set_switch",
            "declare a exchange.answer; begin a := {call}; "
            "update exchange.switches set fires_at = fires_at - interval '0.4 s'; return a; end",
        ),
        it_is_armed,
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found(traders: Market, fault: str) -> None:
    mutant, test = FAULTS[fault]
    install(traders.connection, mutant)
    with pytest.raises(AssertionError):
        test(traders)


@pytest.mark.parametrize("seconds", SECONDS)
def test_seconds_that_are_mended_are_found(traders: Market, seconds: str) -> None:
    mended = "p_request.amount := greatest(1, least(86400, trunc(coalesce(p_request.amount, 1))));"
    install(traders.connection, Mutant("set_switch", f"begin {mended} return {{call}}; end"))
    with pytest.raises(AssertionError):
        whole_seconds(traders, seconds)


FIRING = "update exchange.switches set fires_at = fires_at - interval '1 day'"
# Of the accounts whose switches are due, those that nobody has locked.
FREE = (
    "select account_key from exchange.balances where account_key in "
    "(select account_key from exchange.switches where fires_at <= clock_timestamp()) for update skip locked"
)
MEETINGS: dict[str, tuple[Mutant, Callable[[str, Market], None]]] = {
    "one that is locked holds up the others": (
        Mutant(
            "fire_switches",
            f"begin if (select count(*) from exchange.switches) = (select count(*) from ({FREE}) as free) "
            "then return query select * from {call}; end if; end",
        ),
        an_account_that_is_locked,
    ),
    "one that is locked is forgotten": (
        Mutant(
            "fire_switches",
            "begin return query select * from {call}; "
            "delete from exchange.switches where fires_at <= clock_timestamp(); end",
        ),
        an_account_that_is_locked,
    ),
    "one that is locked is told as fired": (
        Mutant(
            "fire_switches",
            "declare v text[]; begin "
            "v := array(select a.account_id from exchange.switches inner join exchange.accounts as a "
            "using (account_key)); perform {call}; "
            "return query select name, 0::bigint from unnest(v) as name; end",
        ),
        an_account_that_is_locked,
    ),
    "the time that the sweep saw counts": (
        Mutant("cancel_all_of_one", f"begin {FIRING}; return query select * from {{call}}; end"),
        rearmed,
    ),
    "whoever comes fires it": (
        Mutant(
            "cancel_all_of_one",
            "begin return query select request, case outcome when 'not_due' then 'fired' else outcome end, "
            "order_id, shares, price, at, code, message, sym, amount, ref from {call}; end",
        ),
        two_sweeps,
    ),
}


@pytest.mark.parametrize("fault", MEETINGS)
def test_a_fault_is_found_where_sessions_meet(database: str, traders: Market, fault: str) -> None:
    mutant, test = MEETINGS[fault]
    install(traders.connection, mutant)
    with pytest.raises(AssertionError):
        test(database, traders)
