"""`pgbourse book`, `account` and `psql` as a person runs them, against real servers."""

import contextlib
import json
import os
import pty
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgbourse.client import ArmSwitch, Client, Grant, NewAccount, NewSymbol, Order
from pgbourse.database.embedded import EmbeddedPostgres
from pgbourse.database.migrate import migrate
from pgbourse.testing import Exchange
from tests.integration.client import server_that, wait_until
from tests.integration.conftest import Gateway, Session, StartGateway
from tests.integration.tls import Authority
from tests.servers import temporary_folder

PGBOURSE = [sys.executable, "-m", "pgbourse.cli"]


def run(
    *arguments: str, env: dict[str, str] | None = None, input: str = ""
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*PGBOURSE, *arguments],
        capture_output=True,
        text=True,
        check=False,
        input=input,
        env=os.environ | {"COLUMNS": "80"} | (env or {}),
    )


def ask(
    gateway: Gateway, *arguments: str, env: dict[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    host, port = gateway.address
    return run(*arguments, "--host", host, "--port", str(port), env=env)


def trade(gateway: Gateway) -> None:
    """Leave SPY with bids of 5 and 3 at 99.5 and 1 at 98, and an ask of 4 at 101.25 after a fill of 2."""
    with Client(*gateway.address) as client:
        client.create(NewAccount("1", 10_000), NewAccount("2", 10_000), Grant("SPY", "2", 100))
        client.transact("1", Order("SPY", 7, "99.5", ref="a"), Order("SPY", 3, "99.5"), Order("SPY", 1, 98))
        client.transact("2", Order("SPY", -2, 99), Order("SPY", -4, "101.25"))


def test_a_book(gateway: Gateway) -> None:
    trade(gateway)
    result = ask(gateway, "book", "SPY")
    assert (result.returncode, result.stderr) == (0, "")
    assert [line.split() for line in result.stdout.splitlines()[1:]] == [
        ["orders", "shares", "bid", "ask", "shares", "orders"],
        ["2", "8", "99.5", "101.25", "4", "1"],
        ["1", "1", "98", "-", "-", "-"],
    ]
    assert result.stdout.startswith("SPY, change ")
    assert len(ask(gateway, "book", "SPY", "--depth", "1").stdout.splitlines()) == 3


def test_a_book_for_programs(gateway: Gateway) -> None:
    trade(gateway)
    result = ask(gateway, "book", "SPY", "--depth", "1", "--json")
    (line,) = result.stdout.splitlines()
    book = json.loads(line)
    assert book.pop("seq") > 0
    assert book == {
        "sym": "SPY",
        "bids": [{"price": "99.5", "shares": "8", "orders": 2}],
        "asks": [{"price": "101.25", "shares": "4", "orders": 1}],
        "halted": False,
    }


def test_a_halted_book_says_so(gateway: Gateway, connection: Session) -> None:
    trade(gateway)
    connection.execute("select exchange.halt_symbol('SPY')")
    assert ask(gateway, "book", "SPY").stdout.splitlines()[0].endswith(", halted")


def test_an_account(gateway: Gateway) -> None:
    trade(gateway)
    lines = ask(gateway, "account", "2").stdout.splitlines()
    assert [line.split() for line in lines] == [
        ["account", "2"],
        ["holding", "available", "reserved"],
        ["cash", "10199", "0"],
        ["SPY", "94", "4"],
    ]
    with_orders = ask(gateway, "account", "1", "--orders").stdout.splitlines()
    assert [line.split()[1:6] for line in with_orders[-3:]] == [
        ["SPY", "buy", "7", "5", "99.5"],
        ["SPY", "buy", "3", "3", "99.5"],
        ["SPY", "buy", "1", "1", "98"],
    ]


def test_an_account_for_programs(gateway: Gateway) -> None:
    trade(gateway)
    account = json.loads(ask(gateway, "account", "1", "--json").stdout)
    assert account == {
        "account": "1",
        "cash": "8907",
        "reserved": "894",
        "positions": [{"sym": "SPY", "shares": "2", "reserved": "0"}],
        "armed": None,
    }
    listed = json.loads(ask(gateway, "account", "1", "--json", "--orders").stdout)["orders"]
    assert [(order["amount"], order["open_shares"], order["ref"] == "a") for order in listed] == [
        ("7", "5", True), ("3", "3", False), ("1", "1", False),
    ]  # fmt: skip


def test_all_orders_are_listed_though_a_reply_holds_a_thousand(gateway: Gateway) -> None:
    with Client(*gateway.address) as client:
        client.create(NewAccount("1", 10_000), Grant("X", "1", 1))
        client.transact("1", *(Order("X", 1, 1) for _ in range(1001)))
    listed = json.loads(ask(gateway, "account", "1", "--json", "--orders").stdout)["orders"]
    assert len({order["order_id"] for order in listed}) == 1001


def test_an_armed_switch_is_told(gateway: Gateway) -> None:
    with Client(*gateway.address) as client:
        client.create(NewAccount("1", 10_000))
        client.transact("1", ArmSwitch(86_400))
    assert "all its orders are cancelled at 20" in ask(gateway, "account", "1").stdout.splitlines()[0]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["book", "NONE"], "NONE"),
        (["account", "7"], "7"),
        (["book", "SPY", "--account", "7"], "name an account with --account"),
    ],
)
def test_what_is_unknown_is_one_line(gateway: Gateway, arguments: list[str], told: str) -> None:
    trade(gateway)
    result = ask(gateway, *arguments)
    assert (result.returncode, result.stdout) == (1, "")
    assert len(result.stderr.splitlines()) == 1
    assert told in result.stderr


def test_the_account_that_looks_can_be_set_in_the_environment(gateway: Gateway) -> None:
    trade(gateway)
    assert ask(gateway, "book", "SPY", env={"PGBOURSE_ACCOUNT": "7"}).returncode == 1
    assert ask(gateway, "book", "SPY", env={"PGBOURSE_ACCOUNT": "2"}).returncode == 0


def test_a_book_can_be_seen_without_an_account(gateway: Gateway, connection: Session) -> None:
    with Client(*gateway.address) as client:
        client.create(NewAccount("5", 1000), NewSymbol("SPY"))
        client.transact("5", Order("SPY", 2, 3), Order("SPY", 4, 3), Order("SPY", 1, 2), Order("SPY", 1, 1))
    assert connection.execute("select from exchange.accounts where account_id = '1'").fetchone() is None
    with_account = ask(gateway, "book", "SPY", "--account", "5", "--depth", "2")
    without = ask(gateway, "book", "SPY", "--depth", "2")
    assert (without.returncode, without.stdout) == (0, with_account.stdout)
    assert [line.split()[:3] for line in without.stdout.splitlines()[2:]] == [
        ["2", "6", "3"],
        ["1", "1", "2"],
    ]
    unknown = ask(gateway, "book", "NONE")
    assert (unknown.returncode, unknown.stderr) == (1, "pgbourse: no such symbol: NONE\n")


@pytest.mark.parametrize("command", [["book", "SPY"], ["account", "1"]])
def test_a_server_that_is_too_old_is_told(command: list[str]) -> None:
    with server_that(lambda client: client.sendall(b"<results><error>what?</error></results>\n")) as address:
        result = run(*command, "--port", str(address[1]))
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(f"pgbourse: the server does not know {command[0]} (")


@pytest.mark.parametrize("command", [["book", "SPY"], ["account", "1"]])
def test_no_server_and_no_answer_are_one_line(
    command: list[str], gateway: Gateway, connection: Session
) -> None:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as unused:
        port = unused.getsockname()[1]
        late = run(*command, "--port", str(port), "--timeout", "0.1")
    assert late.stderr == f"pgbourse: 127.0.0.1:{port} gave no answer within 0.1 seconds\n"
    nobody = run(*command, "--port", str(port))
    assert nobody.stderr.startswith(f"pgbourse: can't reach a server at 127.0.0.1:{port}")
    with server_that(lambda _: None) as address:
        closed = run(*command, "--port", str(address[1]))
    assert closed.stderr == f"pgbourse: 127.0.0.1:{address[1]} closed the connection without an answer\n"
    assert {late.returncode, nobody.returncode, closed.returncode} == {1}


def on_a_terminal(*arguments: str, env: dict[str, str]) -> bytes:
    """What a command writes on a terminal of 60 columns."""
    terminal, inside = pty.openpty()
    with subprocess.Popen(
        [*PGBOURSE, *arguments],
        stdin=inside,
        stdout=inside,
        stderr=inside,
        env=os.environ | {"TERM": "xterm-256color", "COLUMNS": "60"} | env,
    ) as process:
        os.close(inside)
        seen = b""
        with contextlib.suppress(OSError):  # once the other side is closed
            while data := os.read(terminal, 65536):
                seen += data
        assert process.wait() == 0, seen
    os.close(terminal)
    return seen


def test_on_a_terminal_there_is_a_table_with_colours_unless_they_are_unwanted(gateway: Gateway) -> None:
    trade(gateway)
    port = str(gateway.address[1])
    environment = {name: value for name, value in os.environ.items() if name == "NO_COLOR"}
    assert not environment
    coloured = on_a_terminal("book", "SPY", "--port", port, env={})
    assert b"\x1b[32m" in coloured  # bids are green
    assert "─".encode() in coloured
    plain = on_a_terminal("book", "SPY", "--port", port, env={"NO_COLOR": "1"})
    assert b"\x1b[32m" not in plain
    assert b"99.5" in plain


def test_over_tls_as_the_account_of_a_certificate(
    start_gateway: StartGateway, tmp_path: Path, connection: Session
) -> None:
    authority = Authority(tmp_path, "authority")
    certificate = authority.issue("the exchange", server_only=True)
    trade(start_gateway())
    gateway = start_gateway(tls_cert=certificate, tls_client_ca=authority.file)
    connection.execute("insert into exchange.certificate_accounts values ('ann', '2')")
    options = ["--tls-ca", str(authority.file), "--client-cert", str(authority.issue("ann"))]
    assert "94" in ask(gateway, "account", "2", *options).stdout
    assert ask(gateway, "book", "SPY", "--account", "2", *options).returncode == 0
    assert ask(gateway, "book", "SPY", "--account", "1", *options).returncode == 1
    assert "101.25" in ask(gateway, "book", "SPY", *options).stdout  # account 1 is not theirs
    assert "99.5" in ask(gateway, "tape", "SPY", *options).stdout
    others = ask(gateway, "account", "1", *options)
    assert (others.returncode, others.stdout, len(others.stderr.splitlines())) == (1, "", 1)


def test_a_tape(gateway: Gateway) -> None:
    trade(gateway)
    with Client(*gateway.address) as client:
        client.transact("1", Order("SPY", 1, 102))
    lines = [line.split() for line in ask(gateway, "tape", "SPY").stdout.splitlines()]
    assert lines[0] == ["SPY"]
    assert [line[2:] for line in lines[2:]] == [
        ["sell", "2", "99.5", "1", "4"],
        ["buy", "1", "101.25", "6", "5"],
    ]
    assert len(ask(gateway, "tape", "SPY", "-n", "1").stdout.splitlines()) == 3
    (line,) = ask(gateway, "tape", "SPY", "-n", "1", "--json").stdout.splitlines()
    last = json.loads(line)
    assert datetime.fromisoformat(last.pop("at")).utcoffset() == timedelta(0)
    assert last == {
        "sym": "SPY", "seq": 3, "price": "101.25", "shares": "1", "buy_id": 6, "sell_id": 5, "taker": "buy",
    }  # fmt: skip


def test_a_tape_of_nothing(gateway: Gateway) -> None:
    with Client(*gateway.address) as client:
        client.create_symbol("NEW")
    assert ask(gateway, "tape", "NEW").stdout == "NEW, no trades\n"
    unknown = ask(gateway, "tape", "NONE")
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert unknown.stderr == "pgbourse: no such symbol: NONE\n"
    with server_that(lambda client: client.sendall(b"<results><error>what?</error></results>\n")) as address:
        old = run("tape", "SPY", "--port", str(address[1]))
    assert (old.returncode, old.stdout) == (1, "")
    assert old.stderr.startswith("pgbourse: the server does not know subscribe (")


@pytest.mark.xdist_group("pytest plugin")
def test_a_tape_is_followed_over_a_lost_connection_until_ctrl_c(pgbourse: Exchange) -> None:
    client = pgbourse.client
    client.create(NewAccount("1", 10_000), Grant("SPY", "1", 100))

    def trade_at(price: int) -> None:
        client.transact("1", Order("SPY", -1, price), Order("SPY", 1, price))

    trade_at(1)
    with subprocess.Popen(
        [*PGBOURSE, "tape", "SPY", "--follow", "--json", "--port", str(pgbourse.port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            assert json.loads(process.stdout.readline())["price"] == "1"
            trade_at(2)
            assert json.loads(process.stdout.readline())["price"] == "2"
            pgbourse.cut()
            client = pgbourse.connect()
            trade_at(3)
            assert json.loads(process.stdout.readline())["price"] == "3"
            process.send_signal(signal.SIGINT)
            told = process.stderr.read().splitlines()
            assert process.wait() == 0
        finally:
            process.kill()
    assert len(told) == 2
    assert told[0].endswith(": connecting again")
    assert told[1] == "pgbourse: connected again"


@pytest.fixture(scope="module")
def exchange() -> Iterator[Path]:
    """The data folder of a running exchange."""
    with temporary_folder() as folder, EmbeddedPostgres(folder / "exchange") as postgres:
        migrate(postgres.dsn())
        yield folder / "exchange"


def test_psql_finds_the_running_server_whatever_the_environment_says(exchange: Path) -> None:
    astray = dict.fromkeys(("PGHOST", "PGDATABASE", "PGUSER", "PGSERVICE", "PGOPTIONS", "PGTZ"), "nowhere")
    query = "select current_user, current_database(), current_schema(), count(*) from symbols"
    result = run("psql", "--data-dir", str(exchange), "-XAtc", query, env=astray)
    assert (result.returncode, result.stdout, result.stderr) == (0, "postgres|pgbourse|exchange|0\n", "")


def test_psql_reads_its_input_and_its_status_is_ours(exchange: Path) -> None:
    environment = {"PGBOURSE_DATA_DIR": str(exchange)}
    assert run("psql", "-XAt", env=environment, input="select 6 * 7;\n").stdout == "42\n"
    failed = run("psql", "-X", "-v", "ON_ERROR_STOP=1", env=environment, input="select from nowhere;\n")
    assert failed.returncode == 3
    assert "nowhere" in failed.stderr


def test_psql_on_a_database_that_a_url_names(database: str, tmp_path: Path) -> None:
    with_password = {key: str(value) for key, value in conninfo_to_dict(database).items()}
    url = make_conninfo("", **{key: value for key, value in with_password.items() if key != "password"})
    query = "select current_database(), current_schema(), count(*) from symbols"
    options = ["--database-url", database]
    if "password" in with_password:
        file = tmp_path / "password"
        file.write_text(with_password["password"] + "\n")
        options = ["--database-url", url, "--database-password-file", str(file)]
    result = run("psql", *options, "-XAtc", query, env={"PGDATABASE": "nowhere"})
    assert (result.stdout, result.stderr) == (f"{with_password['dbname']}|exchange|0\n", "")


def test_psql_has_the_terminal(exchange: Path) -> None:
    terminal, inside = pty.openpty()
    with subprocess.Popen(
        [*PGBOURSE, "psql", "--data-dir", str(exchange), "-X"],
        stdin=inside,
        stdout=inside,
        stderr=inside,
        start_new_session=True,
        preexec_fn=lambda: os.close(os.open(os.ttyname(0), os.O_RDWR)),  # Ctrl-C reaches it from there
        env=os.environ | {"TERM": "xterm", "PAGER": "cat"},
    ) as process:
        try:
            os.close(inside)
            seen = ""

            def type_(keys: str, answer: str) -> None:
                nonlocal seen
                os.write(terminal, keys.encode())
                while answer not in seen:
                    assert select.select([terminal], [], [], 60)[0], f"waited for {answer!r}: {seen!r}"
                    seen += os.read(terminal, 65536).decode(errors="replace")

            type_("", "pgbourse=# ")
            type_("select pg_sleep(600);\n", "600);")
            with psycopg.connect(EmbeddedPostgres(exchange).running_dsn(), autocommit=True) as session:
                sleeping = "select from pg_stat_activity where wait_event = 'PgSleep'"
                wait_until(lambda: session.execute(sleeping).fetchone() is not None, "psql waits")
            type_("\x03", "canceling statement due to user request")
            type_("select current_schema();\n", "exchange")
            os.write(terminal, b"\\q\n")
            assert process.wait() == 0
        finally:
            process.kill()
    os.close(terminal)


@pytest.mark.parametrize("makes", [True, False])
def test_psql_says_where_no_server_runs_and_makes_nothing(folder: Path, makes: bool) -> None:
    data_dir = folder / "exchange"
    if makes:
        with EmbeddedPostgres(data_dir):
            pass
    result = run("psql", "--data-dir", str(data_dir), "-c", "select 1")
    assert (result.returncode, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert str(data_dir) in line
    assert data_dir.exists() == makes
