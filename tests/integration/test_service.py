"""`pgbourse serve` as a process: the line that it prints, signals, and starts that fail."""

import contextlib
import fcntl
import functools
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import termios
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tests.integration.client import WireClient, wait_until
from tests.integration.conftest import Block, Session, StartService, waiting_workers
from tests.integration.service import Service, refuses
from tests.integration.tls import Authority, TlsClient

CREATE = b'<create><account id="1" balance="10"/></create>'


def test_one_line_says_that_it_serves(database: str, start_service: StartService) -> None:
    service = start_service("--database-url", database)
    with psycopg.connect(database) as connection:
        version = (connection.info.parameter_status("server_version") or "").split()[0]
    assert service.line == f"pgbourse: listening on 127.0.0.1:{service.address[1]} (PostgreSQL {version})\n"
    with WireClient(service.address) as client:
        assert client.ask(CREATE)[0].tag == "created"
    service.process.send_signal(signal.SIGINT)
    assert service.end()[0] == 0


@pytest.mark.parametrize("abstract", [False, True])
def test_a_service_manager_is_told_when_it_serves(
    database: str,
    folder: Path,
    start_service: StartService,
    monkeypatch: pytest.MonkeyPatch,
    abstract: bool,
) -> None:
    if abstract and sys.platform != "linux":
        pytest.skip("sockets without a file are Linux's")
    name = f"@pgbourse-test-{os.getpid()}" if abstract else str(folder / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(30)
        manager.bind(name.replace("@", "\0", 1) if abstract else name)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        service = start_service("--database-url", database)
        assert manager.recv(100) == b"READY=1"
        with WireClient(service.address) as client:
            assert client.ask(CREATE)[0].tag == "created"


def test_a_service_manager_that_is_not_there_is_no_reason_not_to_serve(
    database: str, folder: Path, start_service: StartService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(folder / "nobody"))
    service = start_service("--database-url", database)
    with WireClient(service.address) as client:
        assert client.ask(CREATE)[0].tag == "created"
    service.process.send_signal(signal.SIGTERM)
    status, errors = service.end()
    assert status == 0
    assert "can't tell the service manager READY=1: " in errors


def test_without_a_database_url_it_brings_its_own(folder: Path, start_service: StartService) -> None:
    service = start_service("--data-dir", str(folder / "server"))
    assert service.line.endswith(", embedded)\n")
    with WireClient(service.address) as client:
        assert client.ask(CREATE)[0].tag == "created"
    service.process.terminate()
    assert service.end()[0] == 0
    again = start_service("--data-dir", str(folder / "server"))
    with WireClient(again.address) as client:
        assert client.ask(CREATE)[0].tag == "error"  # the account is still there
    again.process.terminate()
    assert again.end()[0] == 0


def test_it_starts_on_a_database_that_takes_no_writes(
    database: str, start_service: StartService, connection: Session
) -> None:
    name = sql.Identifier(connection.info.dbname)
    query = sql.SQL("alter database {} set default_transaction_read_only = on")
    connection.execute(query.format(name))
    try:
        service = start_service("--database-url", database)
        with WireClient(service.address) as client:
            answer = client.ask(b'<transactions id="1"><query id="1"/></transactions>')
            assert answer[0].text == "no such order: 1"
    finally:
        connection.execute(sql.SQL("alter database {} reset default_transaction_read_only").format(name))
    service.process.terminate()
    status, errors = service.end()
    assert status == 0
    assert errors.count("the database takes no writes") == 1


def test_a_signal_lets_it_answer_what_it_received(
    database: str, start_service: StartService, block: Block, connection: Session
) -> None:
    service = start_service("--database-url", database)
    blocker = block()
    with WireClient(service.address) as client:
        client.send(CREATE, CREATE)
        wait_until(lambda: waiting_workers(connection), "the request is in the database")
        service.process.terminate()
        wait_until(lambda: refuses(service.address), "it accepts no more connections")
        assert service.process.poll() is None
        blocker.commit()
        assert [client.reply()[0].tag for _ in range(2)] == ["created", "error"]
        assert client.is_closed()
    assert service.end()[0] == 0


def test_a_second_signal_ends_it_at_once(
    database: str, start_service: StartService, block: Block, connection: Session
) -> None:
    service = start_service("--database-url", database)
    blocker = block()
    with WireClient(service.address) as client:
        client.send(CREATE)
        wait_until(lambda: waiting_workers(connection), "the request is in the database")
        service.process.terminate()
        wait_until(lambda: refuses(service.address), "it has taken the first signal")
        service.process.terminate()
        status, errors = service.end()
        assert client.is_closed()
    assert status == 1
    assert errors.splitlines()[-1] == "pgbourse: ended at once by SIGTERM"
    blocker.rollback()


class Terminal:
    """A terminal in which a `pgbourse serve` runs."""

    def __init__(self, log: Path, *options: str) -> None:
        self._ours, theirs = os.openpty()
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PGBOURSE_")}
        with log.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pgbourse.cli", "serve", "--port", "0", "--processes", "1", *options],
                stderr=errors,
                env=environment,
                start_new_session=True,
                preexec_fn=functools.partial(be_in, theirs),
            )
        os.close(theirs)
        text = b""
        while not text.endswith(b"\n"):
            text += os.read(self._ours, 1024)
        match = re.search(r"listening on 127\.0\.0\.1:(\d+) ", text.decode())
        assert match, text
        self.address = ("127.0.0.1", int(match[1]))

    def close(self) -> None:
        os.close(self._ours)


def be_in(terminal: int) -> None:
    """Make a terminal the one of this process, which leads a session."""
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
    os.dup2(terminal, 0)
    os.dup2(terminal, 1)


def test_a_closed_terminal_lets_it_answer_what_it_received(
    database: str, tmp_path: Path, block: Block, connection: Session
) -> None:
    terminal = Terminal(tmp_path / "log", "--database-url", database)
    blocker = block()
    with WireClient(terminal.address) as client:
        client.send(CREATE, CREATE)
        wait_until(lambda: waiting_workers(connection), "the request is in the database")
        terminal.close()
        wait_until(lambda: refuses(terminal.address), "it accepts no more connections")
        terminal.process.send_signal(signal.SIGHUP)  # as a shell does, after the kernel
        blocker.commit()
        assert [client.reply()[0].tag for _ in range(2)] == ["created", "error"]
        assert client.is_closed()
    assert terminal.process.wait(timeout=60) == 0
    assert "all that was received has been answered" in (tmp_path / "log").read_text()


def test_a_closed_terminal_leaves_no_postgresql_behind(folder: Path, tmp_path: Path) -> None:
    terminal = Terminal(tmp_path / "log", "--data-dir", str(folder / "server"))
    terminal.close()
    assert terminal.process.wait(timeout=60) == 0
    assert not (folder / "server" / "data" / "postmaster.pid").exists()


def test_a_sighup_does_a_service_no_harm(database: str, start_service: StartService) -> None:
    service = start_service("--database-url", database)
    with WireClient(service.address) as client:
        for _ in range(3):
            service.process.send_signal(signal.SIGHUP)
            assert client.ask(b"<create/>") is not None
    service.process.terminate()
    status, errors = service.end()
    assert status == 0
    assert "there are no certificates to read again" in errors


def test_a_sighup_reads_the_certificates_again(
    database: str, start_service: StartService, tmp_path: Path
) -> None:
    authority = Authority(tmp_path, "authority")
    served = tmp_path / "served.pem"
    before, after = (authority.issue(name, server_only=True).read_text() for name in ("before", "after"))
    served.write_text(before)
    service = start_service("--database-url", database, "--tls-cert", str(served))
    with TlsClient(service.address, authority.trust()) as connected:
        assert ssl.get_server_certificate(service.address) in before
        served.write_text(after)
        service.process.send_signal(signal.SIGHUP)
        wait_until(lambda: ssl.get_server_certificate(service.address) in after, "clients see the new one")
        served.write_text(authority.issue("late", server_only=True, expired=True).read_text())
        service.process.send_signal(signal.SIGHUP)
        wait_until(
            lambda: ssl.get_server_certificate(service.address) not in after, "clients see the expired one"
        )
        served.write_text(after)
        service.process.send_signal(signal.SIGHUP)
        wait_until(lambda: ssl.get_server_certificate(service.address) in after, "it is replaced")
        served.write_text("no certificate")
        service.process.send_signal(signal.SIGHUP)
        assert connected.ask(CREATE)[0].tag == "created"
        assert ssl.get_server_certificate(service.address) in after
    service.process.terminate()
    status, errors = service.end()
    assert status == 0
    assert "the certificates are not read again, those of before stay" in errors
    assert errors.count(f"the certificate in {served} has expired, clients refuse it: ") == 1
    assert "expires soon" not in errors


def test_it_serves_with_all_standard_streams_closed(database: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    command = f'exec "{sys.executable}" -m pgbourse.cli serve --port {port} --database-url "$0" <&- >&- 2>&-'
    process = subprocess.Popen(["sh", "-c", command, database], start_new_session=True)
    try:
        wait_until(lambda: not refuses(("127.0.0.1", port)), "it serves")
        with WireClient(("127.0.0.1", port)) as client:
            assert client.ask(CREATE)[0].tag == "created"
    finally:
        process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 0


def fails(service: Service) -> str:
    """Return the one line that a start failed with, besides what was logged."""
    status, errors = service.end()
    assert status == 1
    assert service.line == ""
    lines = [line for line in errors.splitlines() if " INFO " not in line]
    assert len(lines) == 1, errors
    return lines[0]


def test_a_port_that_is_taken_is_named(folder: Path, start_service: StartService) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        service = start_service("--data-dir", str(folder / "server"), "--port", str(port))
        told = f"pgbourse: port {port} on 127.0.0.1 is in use: --{{}} ({{}}) names another"
        assert fails(service) == told.format("port", "PGBOURSE_PORT")
        service = start_service("--data-dir", str(folder / "server"), "--http-port", str(port))
        assert fails(service) == told.format("http-port", "PGBOURSE_HTTP_PORT")
    assert not (folder / "server").exists()  # it is known before anything is made


def test_a_host_that_is_not_ours_is_named(database: str, start_service: StartService) -> None:
    service = start_service("--database-url", database, "--host", "192.0.2.1")
    assert fails(service).startswith("pgbourse: can't listen on port 0 of 192.0.2.1: ")


def test_a_database_out_of_reach_is_told(database: str, start_service: StartService) -> None:
    nowhere = start_service("--database-url", "host=127.0.0.1 port=1 user=nobody dbname=nowhere")
    assert "can't reach the database" in fails(nowhere)
    other = start_service("--database-url", make_conninfo(database, dbname="no_such_database"))
    assert 'database "no_such_database" does not exist' in fails(other)


def test_a_connection_string_that_is_none_is_told(start_service: StartService) -> None:
    assert fails(start_service("--database-url", "nonsense")).startswith("pgbourse: ")


def test_a_database_that_was_not_migrated_is_told(empty_database: str, start_service: StartService) -> None:
    line = fails(start_service("--database-url", empty_database, "--no-migrate"))
    assert "run `pgbourse migrate` first" in line


def test_a_role_that_lacks_a_right_is_told(
    database: str, start_service: StartService, connection: Session
) -> None:
    role = sql.Identifier(f"pgbourse_test_stranger_{os.getpid()}")
    conninfo = make_conninfo(database, user=role.as_string().strip('"'), password="stranger")
    connection.execute(sql.SQL("create role {} login password 'stranger'").format(role))
    try:
        assert "lacks a right" in fails(start_service("--database-url", conninfo))
        assert "lacks the rights of exchange_gateway" in fails(
            start_service("--database-url", conninfo, "--no-migrate")
        )
        # One that may see the schema, but is no member of the gateway's role.
        connection.execute(sql.SQL("grant usage on schema exchange to {}").format(role))
        connection.execute(sql.SQL("grant execute on all functions in schema exchange to {}").format(role))
        line = fails(start_service("--database-url", conninfo, "--no-migrate"))
        assert "grant exchange_gateway to it, from" in line
    finally:
        connection.execute(sql.SQL("drop owned by {}").format(role))
        connection.execute(sql.SQL("drop role {}").format(role))


def test_too_few_open_files_are_shared_with_the_database(database: str, start_service: StartService) -> None:
    """So many clients are served that sessions of the database can be opened anew; the others wait."""
    service = start_service("--database-url", database, most_files=64)
    ask = b"<create><server/></create>"
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(WireClient(service.address)) for _ in range(40)]
        for client in clients[:24]:
            assert client.ask(ask)[0].tag == "server"
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() "
                "and application_name like 'pgbourse worker%'"
            )
        assert clients[0].ask(CREATE)[0].tag == "created"
        clients[39].send(ask)  # which waits for somebody to leave
        for client in clients[:24]:
            client.socket.close()
        assert clients[39].reply()[0].tag == "server"
    service.process.terminate()
    status, log = service.end()
    assert status == 0
    assert "only 64 files can be open (ulimit -n): 24 connections at most" in log
    assert log.count("all 24 connections are taken: more must wait") == 1
    assert "Too many open files" not in log
