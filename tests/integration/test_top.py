"""`pgbourse top` over a real exchange: what it reads, as which role, and that it starts, draws and ends."""

import os
import pty
import signal
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from pgbourse.client import Client, Grant, NewAccount, Order, transactions_document
from pgbourse.database.embedded import EmbeddedPostgres
from pgbourse.database.migrate import migrate
from pgbourse.top.live import top
from pgbourse.top.samples import DatabaseSample, DatabaseSampler, TopError, sample_gateway
from tests.integration.client import wait_until
from tests.integration.conftest import Gateway, Session, StartService

TOP = [sys.executable, "-m", "pgbourse.cli", "top", "--seconds", "0.1", "--database-url"]


def trade(gateway: Gateway) -> None:
    """Leave X with a bid of 5 at 99.5 and an ask of 4 at 101 after a fill of 3, and Y with a single bid."""
    with Client(*gateway.address) as client:
        client.create(NewAccount("1", 10_000), NewAccount("2", 10_000))
        client.create(Grant("X", "2", 100), Grant("Y", "2", 100))
        client.transact("1", Order("X", 8, "99.5"), Order("Y", 1, 1))
        client.transact("2", Order("X", -3, 99), Order("X", -4, 101))


def test_it_sees_what_has_happened_since_an_earlier_sample(database: str, gateway: Gateway) -> None:
    source = DatabaseSampler(database)
    before = source.sample(None)
    assert before.markets == ()
    trade(gateway)
    after = source.sample(before)
    source.close()
    assert after.totals.orders - before.totals.orders == 4
    assert after.totals.executions - before.totals.executions == 1
    x, y = after.markets
    assert (x.sym, x.orders, x.trades, x.shares) == ("X", 3, 1, Decimal(3))
    assert (x.bid, x.bid_shares, x.ask, x.ask_shares, x.spread) == (
        Decimal("99.5"), Decimal(5), Decimal(101), Decimal(4), Decimal("1.5"),
    )  # fmt: skip
    assert (y.sym, y.orders, y.trades, y.bid, y.ask, y.spread) == ("Y", 1, 0, Decimal(1), None, None)
    assert not x.halted


def test_what_is_quiet_is_shown_without_counts(database: str, gateway: Gateway) -> None:
    trade(gateway)
    source = DatabaseSampler(database)
    quiet = source.sample(source.sample(None))
    source.close()
    assert sorted((market.sym, market.orders, market.trades) for market in quiet.markets) == [
        ("X", 0, 0),
        ("Y", 0, 0),
    ]


def test_all_symbols_with_open_orders_are_shown_however_long_ago_they_were_placed(
    database: str, gateway: Gateway
) -> None:
    trade(gateway)  # X and Y keep open orders
    with Client(*gateway.address) as client:
        client.create(Grant("BUSY", "2", 5000), Grant("DONE", "2", 1))
        client.transact("2", Order("DONE", -1, 1))
        client.transact("1", Order("DONE", 1, 1))
        for _ in range(2):
            client.transact("2", *(Order("BUSY", -1, 1) for _ in range(600)))
    source = DatabaseSampler(database)
    quiet = source.sample(source.sample(None))
    source.close()
    assert sorted(market.sym for market in quiet.markets) == ["BUSY", "X", "Y"]


def test_the_rights_of_a_reader_are_enough_and_none_are_not(database: str, connection: Session) -> None:
    role = sql.Identifier(f"pgbourse_test_watcher_{os.getpid()}")
    conninfo = make_conninfo(database, user=role.as_string().strip('"'), password="watcher")
    connection.execute(sql.SQL("create role {} login password 'watcher'").format(role))
    try:
        with pytest.raises(TopError, match="grant exchange_reader to it"):
            DatabaseSampler(conninfo).sample(None)
        # From PostgreSQL 16 on, a member need not have the right to become the role.
        set_false = " with set false" if connection.info.server_version >= 160000 else ""
        connection.execute(sql.SQL("grant exchange_reader to {}" + set_false).format(role))
        for setting in ("statement_timeout = 1", "lock_timeout = 1", "extra_float_digits = -15", "jit = on"):
            connection.execute(sql.SQL("alter role {} set " + setting).format(role))
        connection.execute(sql.SQL("alter role {} set search_path = nowhere, pg_catalog").format(role))
        source = DatabaseSampler(conninfo)
        totals = source.sample(None).totals
        assert totals.orders == 0
        assert totals.wal_bytes % 1e6 != 0  # as it would be with one digit
        source.close()
    finally:
        connection.execute(sql.SQL("drop role {}").format(role))


def test_it_sees_who_waits_for_a_symbol(database: str, gateway: Gateway, connection: Session) -> None:
    trade(gateway)
    with psycopg.connect(database) as holder, Client(*gateway.address) as client:
        slot = "select exchange.symbol_slot(symbol_key) from exchange.symbols where sym = 'X'"
        holder.execute(f"select pg_advisory_xact_lock(5000, ({slot}))".encode())
        source = DatabaseSampler(database)
        samples = [source.sample(None)]
        client.send(transactions_document("1", Order("X", 1, 1)))

        def is_seen() -> bool:  # the order waits a while, lets others go first, and tries again
            samples.append(source.sample(None))
            return samples[-1].sessions.waiting == 1 and any(market.waiters for market in samples[-1].markets)

        wait_until(is_seen, "the order waits for the symbol")
        sample = samples[-1]
        held: list[str] = []  # who has what for long; others may, too

        def is_told() -> bool:
            held.append(source.sample(None).held)
            return f"pid {holder.info.backend_pid} " in held[-1]

        wait_until(is_told, "the holder has had it for a second")
        source.close()
        holder.rollback()
        client.receive()
    (market,) = [market for market in sample.markets if market.sym == "X"]
    assert market.waiters == 1
    assert market.longest_wait is not None
    assert sample.sessions.waiting == 1
    assert sample.sessions.longest_wait is not None
    assert market.longest_wait >= sample.sessions.longest_wait  # looked at later
    assert sample.sessions.idle_in_transaction == 1
    assert "has held symbol X" in held[-1]


def test_a_database_without_an_exchange_is_told(empty_database: str) -> None:
    with pytest.raises(TopError, match="run `pgbourse migrate`"):
        DatabaseSampler(empty_database).sample(None)


def test_what_is_no_gateway_is_told(gateway: Gateway) -> None:
    host, port = gateway.address
    url = f"http://{host}:{port}/metrics"  # the exchange's own port
    with pytest.raises(TopError, match=f"no metrics from {url}"):
        sample_gateway(url)


def test_once_prints_one_screen(database: str, gateway: Gateway) -> None:
    trade(gateway)
    environment = os.environ | {"COLUMNS": "80", "LINES": "24"}
    result = subprocess.run(
        [*TOP, database, "--once"], capture_output=True, text=True, check=True, env=environment
    )
    rows = [line.split() for line in result.stdout.splitlines()]
    assert ["X", "99.5", "101.0", "1.5", "0", "0"] in rows
    assert result.stderr == ""


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_that_lacks_characters_gets_others(database: str, gateway: Gateway, encoding: str) -> None:
    trade(gateway)
    result = subprocess.run(
        [*TOP, database, "--once"],
        capture_output=True,
        check=True,
        env=os.environ | {"COLUMNS": "80", "LINES": "24", "PYTHONIOENCODING": encoding},
    )
    lines = result.stdout.decode("ascii").splitlines()
    assert ["X", "99.5", "101.0", "1.5", "0", "0"] in [line.replace("|", " ").split() for line in lines]
    assert max(map(len, lines)) <= 80
    assert result.stderr == b""


def test_a_data_folder_is_found_whatever_the_length_of_its_path(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A socket's path is limited to about 100 bytes, so this folder's socket must lie elsewhere."""
    data_dir = folder / ("data" * 25)
    data_dir.mkdir(mode=0o755)
    monkeypatch.setattr("tempfile.tempdir", str(data_dir))  # too long as well
    with EmbeddedPostgres(data_dir / "exchange") as postgres:
        migrate(postgres.dsn())
        command = [*TOP[:-1], "--once", "--data-dir", str(data_dir / "exchange")]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.stderr == ""
    assert "pgbourse on this machine" in result.stdout
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr.startswith("pgbourse: no PostgreSQL runs on the data folder ")


@pytest.mark.parametrize("options", [["--http-port", "0"], []])
def test_the_metrics_of_the_server_on_a_data_folder_are_found(
    folder: Path, start_service: StartService, options: list[str]
) -> None:
    data_dir = folder / "exchange"
    service = start_service("--data-dir", str(data_dir), *options)
    assert service.line
    command = [*TOP[:-1], "--once", "--data-dir", str(data_dir)]
    environment = os.environ | {"COLUMNS": "200"}
    shown = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    assert ("connections" in shown) == bool(options)
    assert ("pgbourse serve --http-port" in " ".join(shown.split())) != bool(options)
    service.process.terminate()
    assert service.end()[0] == 0
    assert not list(data_dir.glob("*.http"))


def test_in_a_pipe_all_symbols_are_printed(database: str, gateway: Gateway) -> None:
    with Client(*gateway.address) as client:
        client.create(NewAccount("1", 10_000), *(Grant(f"S{i}", "1", 1) for i in range(60)))
        client.transact("1", *(Order(f"S{i}", -1, 1) for i in range(60)))
    result = subprocess.run([*TOP, database, "--once"], capture_output=True, text=True, check=True)
    words = {line.split()[0] for line in result.stdout.splitlines() if line.strip()}
    assert {f"S{i}" for i in range(60)} <= words


def test_a_database_out_of_reach_is_one_line() -> None:
    result = subprocess.run(
        [*TOP, "host=127.0.0.1 port=1 user=nobody dbname=nowhere", "--once"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    found = "pgbourse: database nowhere at 127.0.0.1:1: can't reach the database: "
    assert result.stderr.startswith(found)
    assert len(result.stderr.splitlines()) == 1


def test_without_a_terminal_to_draw_on_it_says_so() -> None:
    command = [*TOP, "host=127.0.0.1 port=1 user=nobody dbname=nowhere"]
    piped = subprocess.run(command, capture_output=True, text=True, check=False)
    assert piped.returncode == 2
    assert piped.stderr.splitlines()[-1] == "Error: there is no terminal to draw on: --once prints one screen"
    terminal, inside = pty.openpty()
    dumb = subprocess.run(
        command, stdout=inside, stderr=subprocess.PIPE, check=False, env=os.environ | {"TERM": "dumb"}
    )
    os.close(inside)
    os.close(terminal)
    assert (dumb.returncode, dumb.stderr.decode()) == (2, piped.stderr)


@pytest.mark.parametrize("key", [b"q", b"\x03"])
def test_on_a_terminal_it_draws_until_a_key_ends_it(database: str, gateway: Gateway, key: bytes) -> None:
    trade(gateway)
    terminal, inside = pty.openpty()
    environment = os.environ | {"TERM": "xterm-256color"}
    with subprocess.Popen(
        [*TOP, database],
        stdin=inside,
        stdout=inside,
        stderr=inside,
        env=environment,
        start_new_session=True,
        preexec_fn=lambda: os.close(os.open(os.ttyname(0), os.O_RDWR)),  # Ctrl-C reaches it from there
    ) as process:
        try:
            os.close(inside)
            seen = b""
            while b"101.0" not in seen:
                seen += os.read(terminal, 65536)
            os.write(terminal, key)
            try:
                while data := os.read(terminal, 65536):
                    seen += data
            except OSError:
                pass  # reading fails so once the other side is closed
            assert process.wait() == 0, seen
        finally:
            process.kill()  # otherwise leaving the block could wait forever
    os.close(terminal)
    assert seen.startswith(b"\x1b[?1049h")
    assert b"\x1b[?1049l" in seen  # the screen that was there before is back


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_ctrl_c_is_not_lost_where_python_drops_the_exception(
    database: str, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Struck:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)

    sample, calls = DatabaseSampler.sample, 0

    def sample_while_struck(source: DatabaseSampler, since: DatabaseSample | None) -> DatabaseSample:
        nonlocal calls
        calls += 1
        assert calls < 5
        if calls == 2:
            Struck()
        return sample(source, since)

    monkeypatch.setattr(DatabaseSampler, "sample", sample_while_struck)
    top(database, lambda: None, 0.01)
    assert calls == 2
