"""compose.yaml: brought up, traded on, stopped and killed under load, started again on its volume."""

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from urllib.request import urlopen

import pytest

from tests.containers.conftest import ROOT, docker, wait_for_health
from tests.integration.client import WireClient, wait_until

_FILES = ("compose.yaml", "tests/containers/compose.override.yaml")
_SHARES = 1_000_000


class Stack:
    """The services of compose.yaml, as a project of its own."""

    def __init__(self, image: str, postgres_image: str) -> None:
        self.project = f"pgbourse-test-{os.getpid()}"
        self._command = [*_compose(), "--project-name", self.project]
        for file in _FILES:
            self._command += ["--file", str(ROOT / file)]
        # Port 0: any that is free.
        self._environment = os.environ | {
            "PGBOURSE_IMAGE": image,
            "POSTGRES_IMAGE": postgres_image,
            "PGBOURSE_PORT": "0",
            "PGBOURSE_HTTP_PORT": "0",
        }

    def __call__(self, *arguments: str) -> str:
        result = subprocess.run(
            [*self._command, *arguments], env=self._environment, capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, f"compose {arguments[0]}: {result.stdout}{result.stderr}"
        return result.stdout.strip()

    def up(self) -> None:
        self("up", "--detach")
        wait_for_health(self.container("gateway"))

    def container(self, service: str) -> str:
        return self("ps", "--quiet", service)

    def address(self, port: int = 12345) -> tuple[str, int]:
        host, _, published = self("port", "gateway", str(port)).rpartition(":")
        return host, int(published)

    def sql(self, query: str) -> list[str]:
        """Ask the database as its superuser, within its container, and return the rows as text."""
        psql = ["psql", "--username=postgres", "--dbname=pgbourse", "--no-align", "--tuples-only", "--quiet"]
        command = ["exec", self.container("database"), *psql, "--command", query]
        return docker(*command).splitlines()


def _compose() -> list[str]:
    """The compose command that is here: version 2, or the old one."""
    version2 = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
    if version2.returncode == 0:
        return ["docker", "compose"]
    assert shutil.which("docker-compose"), "there is a Docker engine, but neither compose nor docker-compose"
    return ["docker-compose"]


@pytest.fixture(scope="module")
def postgres_image() -> str:
    """A PostgreSQL that keeps its data where the images from 18 on do, unless it is told otherwise."""
    image = "pgbourse-test:postgres"
    text = "FROM postgres:15\nENV PGDATA=/var/lib/postgresql/18/docker\n"
    docker("build", "--quiet", "--tag", image, "-", standard_input=text)
    return image


@pytest.fixture(scope="module")
def stack(gateway_image: str, postgres_image: str) -> Iterator[Stack]:
    stack = Stack(gateway_image, postgres_image)
    try:
        stack.up()
        yield stack
    finally:
        stack("down", "--volumes", "--remove-orphans", "--timeout", "5")


class Seller(threading.Thread):
    """A client that sells one share a document until it is cut off, and remembers what it was told."""

    def __init__(self, where: tuple[str, int], account: int, sym: str) -> None:
        super().__init__(name=f"seller-{account}")
        self.acknowledged: list[int] = []
        self.sent = 0
        self._client = WireClient(where)
        self._document = (
            f'<transactions id="{account}"><order sym="{sym}" amount="-1" limit="5"/></transactions>'.encode()
        )

    def run(self) -> None:
        with self._client as client:
            try:
                while True:
                    client.send(self._document)
                    self.sent += 1
                    (opened,) = client.reply()
                    assert opened.tag == "opened", opened.text
                    self.acknowledged.append(int(opened.get("id") or 0))
            except (OSError, AssertionError) as error:
                self.end: Exception = error


def open_market(stack: Stack, sym: str, accounts: range) -> None:
    """Make accounts with shares of this symbol, and one more with money."""
    children = "".join(f'<account id="{i}" balance="100"/>' for i in (*accounts, accounts.stop))
    shares = "".join(f'<account id="{i}">{_SHARES}</account>' for i in accounts)
    with WireClient(stack.address()) as client:
        reply = client.ask(f'<create>{children}<symbol sym="{sym}">{shares}</symbol></create>'.encode())
    assert {child.tag for child in reply} == {"created"}


@pytest.mark.parametrize(
    ("end", "accounts"), [("stop", range(10, 18)), ("kill", range(20, 28)), ("down", range(30, 38))]
)
def test_nothing_acknowledged_is_lost(stack: Stack, end: str, accounts: range) -> None:
    sym = end.upper()
    open_market(stack, sym, accounts)
    sellers = [Seller(stack.address(), account, sym) for account in accounts]
    for seller in sellers:
        seller.start()
    wait_until(lambda: all(len(seller.acknowledged) >= 100 for seller in sellers), "the load is on")
    stack(end)
    for seller in sellers:
        seller.join()
        told = ("closed the connection", "the server is stopping: this was not carried out")
        assert any(words in str(seller.end) for words in told) or isinstance(seller.end, OSError), seller.end

    stack.up()
    acknowledged = {order for seller in sellers for order in seller.acknowledged}
    assert len(acknowledged) == sum(len(seller.acknowledged) for seller in sellers)
    of_symbol = f"from exchange.orders join exchange.symbols using (symbol_key) where sym = '{sym}'"
    stored = {int(row) for row in stack.sql(f"select order_id {of_symbol}")}
    assert acknowledged <= stored
    unanswered = sum(seller.sent - len(seller.acknowledged) for seller in sellers)
    assert len(stored) - len(acknowledged) <= unanswered
    if end != "kill":
        assert stored == acknowledged  # what was carried out has been answered
    assert stack.sql("select * from exchange.check_integrity()") == []

    # Everything is there, and trading goes on, with the best order of the book, which is the oldest.
    buy = f'<transactions id="{accounts.stop}"><order sym="{sym}" amount="1" limit="9"/></transactions>'
    with WireClient(stack.address()) as client:
        assert client.ask(buy.encode())[0].tag == "opened"
    sold = stack.sql(
        "select sell_order_id from exchange.executions join exchange.symbols using (symbol_key) "
        f"where sym = '{sym}'"
    )
    assert sold == [str(min(stored))]


def test_the_gateway_has_no_right_but_to_call_the_api(stack: Stack) -> None:
    with WireClient(stack.address()) as client:  # workers connect when there is something to do
        client.ask(b'<transactions id="1"><query id="1"/></transactions>')
    workers = "from pg_stat_activity where application_name like 'pgbourse worker%'"
    assert stack.sql(f"select distinct usename {workers}") == ["gateway"]
    privileges = "(rolsuper or rolcreaterole or rolcreatedb or rolreplication or rolbypassrls)"
    assert stack.sql(f"select {privileges} from pg_roles where rolname = 'gateway'") == ["f"]
    readable = "has_table_privilege('gateway', oid, 'select, insert, update, delete, truncate')"
    relations = "from pg_class where relnamespace = 'exchange'::regnamespace and relkind in ('r', 'v')"
    assert stack.sql(f"select relname {relations} and {readable}") == []
    may_call = stack.sql(
        "select distinct proname from pg_proc where pronamespace = 'exchange'::regnamespace "
        "and has_function_privilege('gateway', oid, 'execute')"
    )
    assert "process_batch" in may_call
    assert not {"halt_symbol", "freeze_account", "settle_accounts", "place_orders"} & set(may_call)


def test_secrets_are_made_once_and_only_where_they_are_needed(stack: Stack) -> None:
    def cat(service: str, whose: str) -> str:
        command = [
            "exec",
            stack.container(service),
            "sh",
            "-c",
            f"cat /run/pgbourse/{whose}/password || true",
        ]
        return docker(*command)

    gateway, superuser = cat("database", "gateway"), cat("database", "superuser")
    assert len(gateway) == len(superuser) == 48
    assert gateway != superuser
    assert cat("gateway", "gateway") == gateway
    assert cat("gateway", "superuser") == ""
    stack("stop")
    stack.up()
    assert (cat("database", "gateway"), cat("database", "superuser")) == (gateway, superuser)
    everywhere = stack("config") + docker("inspect", stack.container("gateway"), stack.container("database"))
    assert gateway not in everywhere
    assert superuser not in everywhere
    logs = stack("logs", "--no-color")
    assert gateway not in logs
    assert superuser not in logs


def test_metrics_are_published(stack: Stack) -> None:
    host, port = stack.address(12346)
    with urlopen(f"http://{host}:{port}/readyz") as reply:
        assert reply.read() == b"ok\n"
    with urlopen(f"http://{host}:{port}/metrics") as reply:
        assert b"pgbourse_database_up 1.0" in reply.read()
    ports = json.loads(
        docker("inspect", "--format", "{{json .NetworkSettings.Ports}}", stack.container("gateway"))
    )
    assert {binding["HostIp"] for bindings in ports.values() for binding in bindings} == {"127.0.0.1"}
