"""Who may do what: the gateway calls the API and nothing else, a reader reads, nobody else does anything.

And no function can be led astray by what a caller puts into its search_path or its temporary schema.
"""

import psycopg
import pytest

from tests.sql.market import Connection, Market

# What a gateway may call. Another function here is another thing that a stolen gateway can do.
API = {
    "arm_switch",
    "bars",
    "begin_session",
    "book_at",
    "cancel_all_orders",
    "cancel_order",
    "count_open",
    "create_account",
    "create_symbol",
    "disarm_switch",
    "fire_switches",
    "forget_updates",
    "give_back_orphans",
    "grant_shares",
    "list_applied_files",
    "list_orders",
    "lock_holders",
    "look_account",
    "look_book",
    "look_levels",
    "market",
    "match_orders",
    "place_order",
    "process_batch",
    "query_order",
    "read_updates",
    "reduce_order",
    "replace_order",
    "reserve_orders",
    "seq_at",
    "settle_account",
    "settle_idle_accounts",
    "snapshot_book",
    "subscribe",
    "tape",
    "withdraw_orders",
}
TABLE_RIGHTS = ["insert", "update", "delete", "truncate", "references", "trigger"]


def names(connection: Connection, query: str, *arguments: object) -> set[str]:
    return {row[0] for row in connection.execute(query.encode(), arguments or None).fetchall()}


def relations(connection: Connection, kinds: str = "rpvm") -> set[str]:
    query = (
        "select oid::regclass::text from pg_class "
        "where relnamespace = 'exchange'::regnamespace and position(relkind in %s::text) > 0"
    )
    return names(connection, query, kinds)


def functions_of(connection: Connection, role: str) -> set[str]:
    query = (
        "select proname::text from pg_proc where pronamespace = 'exchange'::regnamespace "
        "and has_function_privilege(%s, oid, 'execute')"
    )
    return names(connection, query, role)


def may(connection: Connection, role: str, right: str, kinds: str = "rpvm") -> set[str]:
    """Return the relations on which a role has a right, be it on some column only."""
    function = "has_table_privilege"
    if right in ("select", "insert", "update", "references"):
        function = "has_any_column_privilege"
    query = f"select relation from unnest(%s::text[]) as relation where {function}(%s, relation, %s)"
    return names(connection, query, sorted(relations(connection, kinds)), role, right)


def test_a_gateway_may_execute_the_api(connection: Connection) -> None:
    assert functions_of(connection, "exchange_gateway") == API


def test_a_gateway_may_touch_no_table(connection: Connection) -> None:
    for right in ("select", *TABLE_RIGHTS):
        assert may(connection, "exchange_gateway", right) == set()
    for sequence in relations(connection, "S"):
        granted = connection.execute(
            "select has_sequence_privilege('exchange_gateway', %s, 'usage, select, update')", [sequence]
        ).fetchone()
        assert granted == (False,)


def test_a_reader_may_read_everything_and_write_nothing(connection: Connection) -> None:
    assert may(connection, "exchange_reader", "select") == relations(connection)
    for right in TABLE_RIGHTS:
        assert may(connection, "exchange_reader", right) == set()
    # What a reader may call changes nothing.
    query = (
        "select proname::text from pg_proc "
        "where pronamespace = 'exchange'::regnamespace and provolatile = 'v'"
    )
    assert functions_of(connection, "exchange_reader") & names(connection, query) == set()
    assert "check_integrity" in functions_of(connection, "exchange_reader")


def test_nobody_creates_in_the_schema_or_logs_in(connection: Connection) -> None:
    roles = connection.execute(
        "select rolname, rolcanlogin, rolsuper, rolcreaterole, rolcreatedb, rolbypassrls, "
        "rolreplication, has_schema_privilege(oid, 'exchange', 'create') "
        "from pg_roles where rolname like 'exchange\\_%' order by 1"
    ).fetchall()
    nothing = (False,) * 6
    assert roles == [
        ("exchange_gateway", *nothing, False),
        ("exchange_owner", *nothing, True),
        ("exchange_reader", *nothing, False),
    ]
    memberships = connection.execute(
        "select member::regrole::text, roleid::regrole::text from pg_auth_members "
        "where starts_with(member::regrole::text, 'exchange_')"
    ).fetchall()
    # What the views for the DBA tell about sessions and locks.
    assert sorted(memberships) == [
        ("exchange_owner", "pg_read_all_stats"),
        ("exchange_reader", "pg_read_all_stats"),
    ]


def test_public_may_do_nothing(connection: Connection) -> None:
    granted = connection.execute(
        "select oid::regprocedure::text, 'execute' from pg_proc "
        "where pronamespace = 'exchange'::regnamespace "
        "and (proacl is null or exists (select from aclexplode(proacl) where grantee = 0)) "
        "union all select oid::regclass::text, privilege_type from pg_class, aclexplode(relacl) "
        "where relnamespace = 'exchange'::regnamespace and grantee = 0 "
        "union all select attrelid::regclass::text, privilege_type from pg_attribute, aclexplode(attacl) "
        "where grantee = 0 and attrelid in "
        "(select oid from pg_class where relnamespace = 'exchange'::regnamespace) "
        "union all select nspname::text, privilege_type from pg_namespace, aclexplode(nspacl) "
        "where nspname = 'exchange' and grantee = 0"
    ).fetchall()
    assert granted == []


def test_a_function_made_later_isnt_open_to_public(connection: Connection) -> None:
    connection.execute("set role exchange_owner")
    connection.execute("create function exchange.later() returns integer language sql as 'select 1'")
    assert (
        names(connection, "select proname::text from pg_proc where proname = 'later' and proacl is null")
        == set()
    )
    assert "later" not in functions_of(connection, "exchange_gateway")


def test_everything_is_owned_by_the_owner(connection: Connection) -> None:
    strangers = connection.execute(
        "select oid::regprocedure::text from pg_proc "
        "where pronamespace = 'exchange'::regnamespace and proowner <> 'exchange_owner'::regrole "
        "union all select oid::regclass::text from pg_class "
        "where relnamespace = 'exchange'::regnamespace and relowner <> 'exchange_owner'::regrole "
        "union all select oid::regtype::text from pg_type "
        "where typnamespace = 'exchange'::regnamespace and typowner <> 'exchange_owner'::regrole "
        "union all select nspname::text from pg_namespace "
        "where nspname = 'exchange' and nspowner <> 'exchange_owner'::regrole"
    ).fetchall()
    assert strangers == []


def test_functions_with_the_owners_rights_pin_their_search_path(connection: Connection) -> None:
    """A temporary object must never be found first, by any name."""
    rows = connection.execute(
        "select proname, setting from pg_proc "
        "left join unnest(proconfig) as setting on setting like 'search_path=%' "
        "where pronamespace = 'exchange'::regnamespace and prosecdef"
    ).fetchall()
    assert {name for name, _ in rows} >= API
    assert {setting for _, setting in rows} == {"search_path=exchange, pg_temp"}


@pytest.mark.parametrize(
    "statement",
    [
        "select from exchange.accounts",
        "select from exchange.account_balances",
        "update exchange.balances set cash = 1",
        "delete from exchange.credits",
        "insert into exchange.deposits (account_key, amount, deposited_at) values (1, 1, now())",
        "select nextval('exchange.order_ids')",
        "create table exchange.mine ()",
        "create or replace function exchange.place_order() returns integer language sql as 'select 1'",
        "select exchange.settle_accounts(array[1])",
        "select exchange.place_orders(array[1], '{\"(1,place_order,1,X,1,1,,,)\"}', null)",
        "select exchange.lock_batch(null, true)",
        "select from exchange.check_integrity()",
        "select from exchange.certificate_accounts",
        "insert into exchange.certificate_operators (certificate_name) values ('mine')",
        "set role exchange_owner",
        "set session_replication_role = replica",
    ],
)
def test_a_gateways_session_can_do_nothing_else(database: str, market: Market, statement: str) -> None:
    """Tried for real, in a session that logged in as a member of exchange_gateway."""
    login = f"gateway_of_{market.connection.info.dbname}"
    market.account("1", 100)
    market.connection.execute(f"create role {login} login password 'x' in role exchange_gateway".encode())
    try:
        with psycopg.connect(database, autocommit=True, user=login, password="x") as connection:
            gateway = Market(connection)
            assert gateway.grant("1", "X", 5) == "created"
            assert gateway.place("1", "X", -1, 5) == 1
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement.encode())
    finally:
        market.connection.execute(f"drop role {login}".encode())


def test_temporary_objects_lead_no_function_astray(market: Market) -> None:
    """Tables, types, functions and operators of the caller's, all of them first in its search_path."""
    connection = market.connection
    connection.execute("set role exchange_gateway")
    for table in relations(connection, "rpv"):
        connection.execute(f"create temporary table {table.removeprefix('exchange.')} (x integer)".encode())
    connection.execute(
        """
        create type pg_temp.answer as (x integer);
        create type pg_temp.side as enum ('mine');
        create function pg_temp.stolen() returns void language plpgsql as
        $$ begin raise exception 'led astray as %', current_user; end $$;
        create function pg_temp.abs(numeric) returns numeric language sql as
        'select pg_temp.stolen(); select $1';
        create function pg_temp.format(text, text) returns text language sql as
        'select pg_temp.stolen(); select $1';
        create function pg_temp.hashtext(text) returns integer language sql as
        'select pg_temp.stolen(); select 1';
        create function pg_temp.less(numeric, numeric) returns boolean language sql as
        'select pg_temp.stolen(); select true';
        create operator pg_temp.< (leftarg = numeric, rightarg = numeric, function = pg_temp.less);
        create function pg_temp.is_number(numeric) returns boolean language sql as
        'select pg_temp.stolen(); select true';
        set search_path = pg_temp, exchange, pg_catalog;
        """
    )
    assert market.account("1", 100) == "created"
    assert market.grant("1", "X", 10) == "created"
    sold = market.place("1", "X", -5, 7)
    assert market.try_place("1", "X", -50, 7) == (None, "insufficient_shares")
    assert market.query("1", market.place("1", "X", 2, 8)) == ["executed 2 @ 7"]
    assert market.cancel("1", sold) == ["canceled 3", "executed 2 @ 7"]
    connection.execute(
        "select exchange.settle_account('1'), exchange.settle_idle_accounts(), exchange.count_open()"
    )
    connection.execute("reset role; set search_path = public")
    assert (market.cash("1"), market.shares("1", "X")) == ("100", "10")


@pytest.mark.parametrize(
    "text",
    [
        "'; drop table exchange.accounts; --",
        "' or '1'='1",
        "%s%n$1",
        "\\",
        '"',
        "$$",
        "1' union select '1",
        "\u0661",
    ],
)
def test_what_clients_write_is_never_code(market: Market, text: str) -> None:
    market.account("1", 100)
    market.grant("1", "X", 10)
    assert market.account(text, 5) == "invalid_account"
    assert market.grant("1", text, 5) == "invalid_symbol"
    assert market.try_place(text, "X", 1, 1) == (None, "unknown_account")
    assert market.try_place("1", text, 1, 1) == (None, "unknown_symbol")
    assert market.query(text, 1) == ["unknown_order"]
    message = market.connection.execute(
        "select message from exchange.place_order(%s, 'X', 1, 1)", [text]
    ).fetchone()
    assert message == (f"no such account: {text}",)
