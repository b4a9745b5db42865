"""No function works for who plants something in its way: by name, by session settings, by crafted arguments.

The functions run with the rights of exchange_owner. In front of pg_catalog a gateway's session has a schema
of its own, with every function and operator that texts, numbers and times have there: each says whose rights
it got.
"""

from collections.abc import Iterator

import psycopg
import pytest

from tests.sql.market import Connection, Market, replace, wrap
from tests.sql.test_functions import traders
from tests.sql.test_rights import API

__all__ = ["traders"]  # a fixture

TRAP = """
create schema trap;
grant usage, create on schema trap to public;
set role exchange_gateway;
do $do$
declare
    c_types constant oid[] := array[
        'text', 'name', 'numeric', 'smallint', 'integer', 'bigint', 'double precision', 'boolean', 'oid',
        'xid8', 'timestamptz', 'interval'
    ]::regtype[]::oid[];
    v_found record;
begin
    for v_found in
        select
            quote_ident(proname) as name,
            pg_get_function_identity_arguments(oid) as arguments,
            prorettype::regtype as result
        from pg_proc
        where pronamespace = 'pg_catalog'::regnamespace and prokind = 'f' and not proretset
            and proargtypes::oid[] <@ c_types and prorettype = any(c_types || 'void'::regtype::oid)
        union all
        values ('format', 'text, integer', 'text'::regtype), ('format', 'text, text', 'text')
    loop
        execute format(
            $$create function trap.%s(%s) returns %s language plpgsql as
            'begin raise exception ''led astray as %%'', current_user; end'$$,
            v_found.name, v_found.arguments, v_found.result
        );
    end loop;
    for v_found in
        select oprname, oprleft::regtype as "left", oprright::regtype as "right", quote_ident(proname) as name
        from pg_operator
        inner join pg_proc on oprcode = pg_proc.oid
        where oprnamespace = 'pg_catalog'::regnamespace and oprleft = any(c_types) and oprright = any(c_types)
            and oprresult = any(c_types) and proargtypes::oid[] <@ c_types and pronamespace = oprnamespace
    loop
        execute format(
            'create operator trap.%s (leftarg = %s, rightarg = %s, function = trap.%s)',
            v_found.oprname, v_found.left, v_found.right, v_found.name
        );
    end loop;
end
$do$;
set search_path = trap, pg_catalog, exchange;
"""
CALLS = {
    "arm_switch": "'1', 60",
    "bars": "'X', '1 hour'",
    "begin_session": "",
    "book_at": "'X', '2030-01-01'",
    "cancel_all_orders": "'2'",
    "cancel_order": "'1', 1",
    "count_open": "",
    "create_account": "'9', 5",
    "create_symbol": "'Y'",
    "disarm_switch": "'1'",
    "fire_switches": "",
    "forget_updates": "'0', 5",
    "give_back_orphans": "",
    "grant_shares": "'Y', '1', 5",
    "list_applied_files": "",
    "list_orders": "'1'",
    "lock_holders": "0",
    "look_account": "'1'",
    "look_book": "'1', 'X'",
    "look_levels": "array['X'], array[null]::bigint[], 5",
    "market": "",
    "match_orders": "array[1], array['(0,1)']::tid[], array[1]",
    "place_order": "'2', 'X', 2, 5, 'a7'",
    "process_batch": "array[(1, 'place_order', '1', 'X', 1, 5, null, 'ann', null), "
    "(1, 'query_order', '1', null, null, null, 1, 'ann', null)]::exchange.request[], true",
    "query_order": "'1', 1",
    "read_updates": "array[1], array[0], 5",
    "reduce_order": "'1', 1, shares => 1",
    "replace_order": "'1', 1, -8, 5, 'b1'",
    "reserve_orders": "array[(1, 'place_order', '1', 'X', 1, 5, null, 'ann', null)]::exchange.request[], "
    "true",
    "seq_at": "1, '2030-01-01'",
    "settle_account": "'1'",
    "settle_idle_accounts": "5",
    "snapshot_book": "1",
    "subscribe": "array['X', 'Z', 'X'], array[1, 1, null], array['root', 'root', 'ann']",
    "tape": "'X'",
    "withdraw_orders": "array[1]",
}


@pytest.fixture
def trapped(traders: Market) -> Iterator[Connection]:
    """A superuser's session, for the trap or for a mutant first, in a market with an order and a trade.

    Another order is reserved for and not in the market yet.
    """
    traders.place("1", "X", -10, 5)
    traders.place("2", "X", 1, 5)
    traders.connection.execute(
        "select from exchange.reserve_orders("
        "array[(1, 'place_order', '1', 'X', -1, 5, null, null, null)]::exchange.request[])"
    )
    assert traders.connection.execute("update exchange.incoming_orders set incoming_id = 1").rowcount == 1
    with traders.connection.transaction(force_rollback=True):
        yield traders.connection


def call(connection: Connection, function: str) -> None:
    connection.execute(f"select * from exchange.{function}({CALLS[function]})".encode())


def test_the_calls_are_those_of_the_api() -> None:
    assert CALLS.keys() == API


def test_what_stands_in_front_leads_no_function_astray(trapped: Connection) -> None:
    trapped.execute(TRAP.encode())
    for function in CALLS:
        call(trapped, function)
    with pytest.raises(psycopg.errors.RaiseException, match="led astray as exchange_gateway"):
        trapped.execute("select abs(-1.5) < 2.0")


# They use nothing that could be planted: they count, and list, or hand one request on.
HARMLESS = {"cancel_all_orders", "count_open", "disarm_switch", "list_applied_files"}


@pytest.mark.parametrize("function", sorted(API - HARMLESS))
def test_a_function_that_takes_the_callers_search_path_is_found_out(
    trapped: Connection, function: str
) -> None:
    trapped.execute(f"alter function exchange.{function} reset search_path".encode())
    trapped.execute(TRAP.encode())
    # A planted operator between rows isn't called at all: it belongs to no index's family.
    astray = "led astray as exchange_owner|could not determine interpretation of row comparison"
    with pytest.raises(psycopg.Error, match=astray):
        call(trapped, function)


def test_a_cast_of_the_callers_gets_the_callers_rights(trapped: Connection) -> None:
    trapped.execute(TRAP.encode())
    trapped.execute(
        "create type trap.bait as (x integer); "
        "create function trap.bite(trap.bait) returns text language plpgsql as "
        "'begin raise exception ''led astray as %'', current_user; end'; "
        "create cast (trap.bait as text) with function trap.bite as implicit"
    )
    with pytest.raises(psycopg.errors.RaiseException, match="led astray as exchange_gateway"):
        trapped.execute("select exchange.create_symbol(row(1)::trap.bait)")


SETTINGS = {
    "array_nulls": "off",
    "transform_null_equals": "on",
    "standard_conforming_strings": "off",
    "extra_float_digits": "-15",
    "datestyle": "sql, dmy",
    "intervalstyle": "sql_standard",
    "timezone": "Asia/Kathmandu",
    "lc_messages": "C",
    "row_security": "off",
    "work_mem": "64kB",
    "from_collapse_limit": "1",
    "enable_indexscan": "off",
    "plan_cache_mode": "force_custom_plan",
    "check_function_bodies": "off",
}


def test_settings_of_a_session_change_no_answer(traders: Market) -> None:
    for name, value in SETTINGS.items():
        traders.connection.execute("select set_config(%s, %s, false)", [name, value])
    sold = traders.place("1", "X", -10, "0.000000000001")
    bought = traders.place("2", "X", "4.75", 5)
    assert traders.query("2", bought) == ["executed 4.75 @ 0.000000000001"]
    assert traders.cancel("1", sold) == ["canceled 5.25", "executed 4.75 @ 0.000000000001"]
    assert traders.try_place("1", None, 1, 5) == (None, "unknown_symbol")
    assert traders.violations() == []


def test_an_answer_that_depends_on_a_setting_is_found_out(traders: Market) -> None:
    wrap(
        traders.connection,
        "query_orders",
        "begin return query select request, outcome, order_id, shares::float8::text::numeric, price, at, "
        "code, message, sym, amount, ref from {call}; end",
    )
    with pytest.raises(AssertionError, match=r"executed 5 @"):
        test_settings_of_a_session_change_no_answer(traders)


COLUMNS = {  # of process_batch's requests, for two orders
    "sequences": "{1,1}",
    "actions": "{place_order,place_order}",
    "account_ids": "{1,1}",
    "syms": "{X,X}",
    "amounts": "{10,10}",
    "limits": "{5,5}",
    "order_ids": "{NULL,NULL}",
}


def place_two(market: Market, **columns: str) -> list[str]:
    """Place two orders in a batch, some of their fields being others; return what comes of them."""
    fields = [
        ["" if value == "NULL" else value for value in text[1:-1].split(",")]
        for text in (COLUMNS | columns).values()
    ]
    requests = [f"({','.join(values)},,)" for values in zip(*fields, strict=True)]
    query = "select coalesce(code, outcome) from exchange.process_batch(%s::text[]::exchange.request[])"
    return [row[0] for row in market.connection.execute(query, [requests]).fetchall()]


SHAPES = ["[0:1]={}", "[2:3]={}", "{{{}}}", "{null}", "{null,null}"]


@pytest.mark.parametrize("shape", SHAPES)
def test_no_array_may_be_crooked(traders: Market, shape: str) -> None:
    two = ",".join(['"(1,place_order,1,X,10,5,,,)"'] * 2)
    text = shape.replace("{}", f"{{{two}}}")
    with pytest.raises(psycopg.Error, match="array of a batch") as refused:
        traders.connection.execute("select exchange.process_batch(%s)", [text])
    assert refused.value.sqlstate == "EX002"
    assert traders.book("X") == []


@pytest.mark.parametrize("shape", SHAPES)
def test_an_array_that_is_not_looked_at_is_found_out(traders: Market, shape: str) -> None:
    wrap(
        traders.connection,
        "process_batch",
        "begin p_requests := array(select (sequence, action, account_id, sym, amount, limit_price, "
        "order_id, certificate_name, terms)::exchange.request from unnest(p_requests)); "
        "return query select * from {call}; end",
    )
    with pytest.raises((AssertionError, pytest.fail.Exception, psycopg.Error)):
        test_no_array_may_be_crooked(traders, shape)


@pytest.mark.parametrize(
    ("arrays", "answers"),
    [
        ({"account_ids": "{NULL,1}"}, ["unknown_account", "opened"]),
        ({"syms": "{X,NULL}"}, ["opened", "unknown_symbol"]),
        ({"amounts": "{NULL,NaN}"}, ["invalid_amount", "invalid_amount"]),
        ({"amounts": "{Infinity,-Infinity}"}, ["invalid_amount", "invalid_amount"]),
        ({"amounts": "{1e131071,-1e131071}"}, ["invalid_amount", "invalid_amount"]),
        ({"amounts": "{1e-16383,0}"}, ["invalid_amount", "invalid_amount"]),
        ({"limits": "{NULL,NaN}"}, ["invalid_limit", "invalid_limit"]),
        ({"limits": "{Infinity,-5}"}, ["invalid_limit", "invalid_limit"]),
        ({"limits": "{1e131071,1e-16383}"}, ["invalid_limit", "invalid_limit"]),
        (
            {"amounts": "{999999999999999999,10}", "limits": "{999999999999999999,5}"},
            ["insufficient_funds", "opened"],
        ),
        ({"sequences": "{NULL,NULL}"}, ["opened", "opened"]),
        ({"sequences": "{-2147483648,2147483647}"}, ["opened", "opened"]),
        ({"account_ids": "{%s,1}" % ("1" * 1_000_000)}, ["unknown_account", "opened"]),
        ({"syms": "{X,%s}" % ("X" * 1_000_000)}, ["opened", "unknown_symbol"]),
        (
            {"actions": "{cancel_order,place_order}", "order_ids": "{-9223372036854775808,NULL}"},
            ["unknown_order", "opened"],
        ),
        (
            {"actions": "{query_order,cancel_order}", "order_ids": "{9223372036854775807,NULL}"},
            ["unknown_order", "unknown_order"],
        ),
    ],
    ids=str,
)
def test_crafted_values_are_refused_and_change_nothing(
    traders: Market, arrays: dict[str, str], answers: list[str]
) -> None:
    assert place_two(traders, **arrays) == answers
    assert traders.cash("1") == str(10000 - 50 * answers.count("opened"))
    assert traders.violations() == []


def test_numbers_that_are_none_are_found_out_when_let_in(traders: Market) -> None:
    replace(traders.connection, "is_number", "select p_value is not null", "sql")
    for amounts in ("{Infinity,-Infinity}", "{NULL,NaN}", "{1e-16383,0}"):
        with pytest.raises((AssertionError, psycopg.Error)):
            test_crafted_values_are_refused_and_change_nothing(
                traders, {"amounts": amounts}, ["invalid_amount", "invalid_amount"]
            )


@pytest.mark.parametrize("action", [None, "", "PLACE_ORDER", "place_order ", "create"])
def test_an_action_of_another_name_ends_the_batch(traders: Market, action: str | None) -> None:
    actions = "{place_order,NULL}" if action is None else f'{{place_order,"{action}"}}'
    with pytest.raises(psycopg.Error, match="unknown action") as refused:
        place_two(traders, actions=actions)
    assert refused.value.sqlstate == "EX001"
    assert traders.cash("1") == "10000"
