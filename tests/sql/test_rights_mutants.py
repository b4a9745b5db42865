"""The tests of who may do what fail when somebody may do more."""

from collections.abc import Callable

import psycopg
import pytest

from tests.sql import test_rights as rights
from tests.sql.market import Connection, Market, replace
from tests.sql.test_functions import test_orders_of_others_look_like_none as orders_of_others
from tests.sql.test_functions import traders

__all__ = ["traders"]  # a fixture

CREATE_ACCOUNT = "exchange.create_account(text, numeric)"
MUTANTS: list[tuple[str, Callable[[Connection], None]]] = [
    (
        "grant execute on function exchange.settle_accounts(bigint[], xid8) to exchange_gateway",
        rights.test_a_gateway_may_execute_the_api,
    ),
    ("grant exchange_owner to exchange_gateway", rights.test_a_gateway_may_execute_the_api),
    ("grant select on exchange.accounts to exchange_gateway", rights.test_a_gateway_may_touch_no_table),
    (
        "grant update (cash) on exchange.balances to exchange_gateway",
        rights.test_a_gateway_may_touch_no_table,
    ),
    ("grant trigger on exchange.orders to exchange_gateway", rights.test_a_gateway_may_touch_no_table),
    ("grant select on exchange.order_book to exchange_gateway", rights.test_a_gateway_may_touch_no_table),
    (
        "grant usage on sequence exchange.order_ids to exchange_gateway",
        rights.test_a_gateway_may_touch_no_table,
    ),
    ("grant pg_read_all_data to exchange_gateway", rights.test_a_gateway_may_touch_no_table),
    (
        "grant insert on exchange.orders to exchange_reader",
        rights.test_a_reader_may_read_everything_and_write_nothing,
    ),
    (
        f"grant execute on function {CREATE_ACCOUNT} to exchange_reader",
        rights.test_a_reader_may_read_everything_and_write_nothing,
    ),
    (
        "grant create on schema exchange to exchange_gateway",
        rights.test_nobody_creates_in_the_schema_or_logs_in,
    ),
    ("alter role exchange_gateway createrole", rights.test_nobody_creates_in_the_schema_or_logs_in),
    ("grant pg_signal_backend to exchange_gateway", rights.test_nobody_creates_in_the_schema_or_logs_in),
    (f"grant execute on function {CREATE_ACCOUNT} to public", rights.test_public_may_do_nothing),
    ("grant select (cash) on exchange.balances to public", rights.test_public_may_do_nothing),
    ("grant usage on schema exchange to public", rights.test_public_may_do_nothing),
    (
        "alter default privileges for role exchange_owner grant execute on functions to public",
        rights.test_a_function_made_later_isnt_open_to_public,
    ),
    (
        f"alter function {CREATE_ACCOUNT} owner to current_user",
        rights.test_everything_is_owned_by_the_owner,
    ),
    ("alter view exchange.order_book owner to current_user", rights.test_everything_is_owned_by_the_owner),
    (
        f"alter function {CREATE_ACCOUNT} reset search_path",
        rights.test_functions_with_the_owners_rights_pin_their_search_path,
    ),
    (
        f"alter function {CREATE_ACCOUNT} set search_path = exchange",  # pg_temp is first then, for tables
        rights.test_functions_with_the_owners_rights_pin_their_search_path,
    ),
    (
        f"alter function {CREATE_ACCOUNT} security invoker",
        rights.test_functions_with_the_owners_rights_pin_their_search_path,
    ),
]


@pytest.mark.parametrize(("statement", "test"), MUTANTS, ids=[statement for statement, _ in MUTANTS])
def test_a_right_too_many_is_found_out(
    connection: Connection, statement: str, test: Callable[[Connection], None]
) -> None:
    # Roles are those of all databases: nobody else must see this.
    with connection.transaction(force_rollback=True):
        connection.execute(statement.encode())
        with pytest.raises(AssertionError):
            test(connection)


def test_a_session_that_may_read_a_table_is_found_out(database: str, market: Market) -> None:
    market.connection.execute("grant select on exchange.accounts to exchange_gateway")
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        rights.test_a_gateways_session_can_do_nothing_else(database, market, "select from exchange.accounts")


def test_a_function_that_takes_a_temporary_table_is_found_out(market: Market) -> None:
    body = "select (select count(*) from resting_orders), 0::bigint, 0::bigint"
    replace(market.connection, "count_open", body, "sql")
    pinned_wrongly = "alter function exchange.count_open set search_path = pg_temp, exchange"
    market.connection.execute(pinned_wrongly.encode())
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="table resting_orders"):
        rights.test_temporary_objects_lead_no_function_astray(market)


# Whose the order is, isn't asked.
ANYBODYS_ORDER = """
select
    orders.order_id,
    orders.account_key,
    orders.symbol_key,
    orders.side,
    orders.limit_price,
    exchange.price_rank(orders.side, orders.limit_price),
    exchange.symbol_slot(orders.symbol_key)
from exchange.orders
where orders.order_id = p_order_id
"""


@pytest.mark.parametrize("function", ["query_order", "cancel_order"])
def test_a_missing_account_check_is_found_out(traders: Market, function: str) -> None:
    replace(traders.connection, "account_order", ANYBODYS_ORDER, "sql")
    with pytest.raises(AssertionError):
        orders_of_others(traders, function)
