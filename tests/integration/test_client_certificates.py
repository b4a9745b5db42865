"""Client certificates: who shows none, or a wrong one, gets nowhere; others do what the tables say."""

import logging
import re
import shutil
import ssl
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from lxml import etree

from pgbourse.cli import cli
from pgbourse.client import Client, RequestRefused
from pgbourse.client.ping import PingError, ping
from pgbourse.serve.batch import literal_of
from pgbourse.serve.portions import Portion
from pgbourse.tls import client_context
from tests.integration.client import WireClient, wait_until
from tests.integration.conftest import Block, Gateway, Session, StartGateway
from tests.integration.feeding import Feed
from tests.integration.test_server import CREATE, buy
from tests.integration.tls import Authority
from tests.sql.market import replace

OPEN = b"".join(
    b'<account id="%d" balance="1000"/><symbol sym="X"><account id="%d">500</account></symbol>' % (n, n)
    for n in range(1, 10)
)
Connect = Callable[..., WireClient]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "authority")


@pytest.fixture
def gateway(start_gateway: StartGateway, authority: Authority, connection: Session) -> Gateway:
    """Asks for certificates; ann may act for account 1, bob for 2, and root for all."""
    connection.execute(
        "insert into exchange.certificate_accounts (certificate_name, account_id) "
        "values ('ann', '1'), ('bob', '2')"
    )
    connection.execute("insert into exchange.certificate_operators (certificate_name) values ('root')")
    certificate = authority.issue("the exchange", server_only=True)
    gateway = start_gateway(tls_cert=certificate, tls_client_ca=authority.file, reserve_workers=1, lanes=0)
    gateway.tls = authority.trust(authority.issue("root"))
    assert {child.tag for child in gateway.ask(b"<create>" + OPEN + b"</create>")} == {"created"}
    return gateway


@pytest.fixture(params=[ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def version(request: pytest.FixtureRequest) -> ssl.TLSVersion:
    return ssl.TLSVersion(request.param)


@pytest.fixture
def connect(gateway: Gateway, authority: Authority) -> Connect:
    """Open a connection with a certificate for these common names."""

    def open_connection(*names: str, **wanted: Any) -> WireClient:
        return gateway.connect(tls=authority.trust(authority.issue(*names, **wanted)))

    return open_connection


def said(reply: etree._Element) -> list[str]:
    """What came of each child: the name of its result, or why not."""
    return ["not permitted" if "may not" in (child.text or "") else str(child.tag) for child in reply]


def ask_for(client: WireClient, account: int) -> list[str]:
    """What becomes of an order, a query and a cancel for an account."""
    document = (
        f'<transactions id="{account}"><order sym="X" amount="1" limit="1"/><query id="1"/><cancel id="1"/>'
        "</transactions>"
    )
    return said(client.ask(document.encode()))


def test_a_name_may_act_for_its_accounts(connect: Connect) -> None:
    ann, bob = connect("ann"), connect("bob")
    assert ask_for(ann, 1) == ["opened", "status", "canceled"]
    assert ask_for(ann, 2) == ["not permitted"] * 3
    assert ask_for(bob, 1) == ["not permitted"] * 3
    assert ask_for(bob, 2) == ["opened", "error", "error"]  # order 1 is not bob's
    assert said(ann.ask(b'<create><account id="77" balance="1"/></create>')) == ["not permitted"]


def test_a_refusal_repeats_what_was_asked_and_says_why(connect: Connect) -> None:
    reply = connect("ann").ask(
        b'<transactions id="2"><order sym="X" amount="-1" limit="2.50"/></transactions>'
    )
    assert etree.tostring(reply) == (
        b'<results><error sym="X" amount="-1" limit="2.50">the certificate of ann may not act for account 2: '
        b"only for the accounts that it is bound to</error></results>"
    )


def test_an_operator_may_do_everything(connect: Connect) -> None:
    root = connect("root")
    assert ask_for(root, 1) == ["opened", "status", "canceled"]
    assert said(root.ask(b'<create><account id="77" balance="1"/></create>')) == ["created"]


@pytest.mark.parametrize("name", ["eve", "Ann", 'ann","root', "ann\\", '"', "{", "NULL", "  "])
def test_a_name_that_is_not_bound_may_do_nothing(connect: Connect, name: str) -> None:
    client = connect(name)
    assert ask_for(client, 1) == ["not permitted"] * 3
    assert said(client.ask(CREATE)) == ["not permitted"] * 2


def test_any_printable_name_can_be_bound(connect: Connect, connection: Session) -> None:
    name = "".join(map(chr, range(32, 127)))[:64]
    for part in (name, "\\\"'{},NULL %s $1"):
        connection.execute("insert into exchange.certificate_accounts values (%s, '3')", [part])
        assert ask_for(connect(part), 3)[0] == "opened"
        assert ask_for(connect(part), 1)[0] == "not permitted"


def test_revocation_acts_at_once(connect: Connect, connection: Session) -> None:
    ann, root = connect("ann"), connect("root")
    assert ask_for(ann, 1)[0] == "opened"
    assert ask_for(root, 1)[0] == "opened"
    connection.execute("delete from exchange.certificate_accounts where certificate_name = 'ann'")
    connection.execute("delete from exchange.certificate_operators")
    assert ask_for(ann, 1) == ["not permitted"] * 3
    assert ask_for(root, 1) == ["not permitted"] * 3


def mixed(gateway: Gateway, connect: Connect, block: Block, wait: Callable[[int], None]) -> None:
    """Let clients with three certificates meet in one batch, each asking for two accounts."""
    names = ["ann", "bob", "eve"] * 4
    clients = [connect(name) for name in names]
    first = connect("root")
    blocker = block()
    first.send(buy(1))
    wait(1)  # what is sent from now on is one batch
    for client in clients:
        client.send(buy(1, account=1), buy(1, account=2), b"<nonsense/>", buy(1, account=1))
    blocker.rollback()
    for name, client in zip(names, clients, strict=True):
        results = [said(client.reply())[0] for _ in range(4)]
        mine = {"ann": ("opened", "not permitted"), "bob": ("not permitted", "opened")}
        one, two = mine.get(name, ("not permitted",) * 2)
        assert results == [one, two, "error", one], name


def test_clients_of_one_batch_are_not_mixed_up(
    gateway: Gateway, connect: Connect, block: Block, wait_for_workers: Callable[[int], None]
) -> None:
    mixed(gateway, connect, block, wait_for_workers)


def shifted(names: list[str | None]) -> list[str | None]:
    return names[-1:] + names[:-1]


def all_of_the_first(names: list[str | None]) -> list[str | None]:
    return names[:1] * len(names)


@pytest.mark.parametrize("mutant", [shifted, all_of_the_first])
def test_clients_that_are_mixed_up_are_found_out(
    gateway: Gateway,
    connect: Connect,
    block: Block,
    wait_for_workers: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
    mutant: Callable[[list[str | None]], list[str | None]],
) -> None:
    def wrong(portions: Sequence[Portion]) -> bytes:
        names = mutant([portion.certificate_name for portion in portions])
        for portion, name in zip(portions, names, strict=True):
            portion.certificate_name = name
        return literal_of(portions)

    monkeypatch.setattr("pgbourse.serve.carrier.literal_of", wrong)
    with pytest.raises(AssertionError):
        mixed(gateway, connect, block, wait_for_workers)


def test_a_database_that_does_not_look_at_names_is_found_out(
    gateway: Gateway,
    connect: Connect,
    connection: Session,
    block: Block,
    wait_for_workers: Callable[[int], None],
) -> None:
    replace(connection, "certificate_may", "select true", "sql")
    with pytest.raises(AssertionError):
        mixed(gateway, connect, block, wait_for_workers)


def refused(gateway: Gateway, context: ssl.SSLContext) -> None:
    """With TLS 1.3 a client learns from the first thing that it reads that its certificate is not taken."""
    with pytest.raises((ssl.SSLError, ConnectionError)):
        gateway.connect(tls=context).ask(buy(1))


@pytest.mark.parametrize("kind", ["none", "of a stranger", "expired", "for servers"])
def test_a_wrong_certificate_is_refused(
    gateway: Gateway,
    authority: Authority,
    connection: Session,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    version: ssl.TLSVersion,
    kind: str,
) -> None:
    caplog.set_level(logging.INFO, "pgbourse")
    certificates = {
        "of a stranger": Authority(tmp_path, "stranger").issue("ann"),
        "expired": authority.issue("ann", expired=True),
        "for servers": authority.issue("ann", server_only=True),
    }
    context = authority.trust(certificates.get(kind))
    context.maximum_version = version
    refused(gateway, context)
    assert connection.execute("select count(*) from exchange.orders").fetchone() == (0,)
    why = {
        "none": "peer did not return a certificate",
        "of a stranger": "unable to get local issuer certificate",
        "expired": "certificate has expired",
        "for servers": "unsuitable certificate purpose",
    }
    noted = f"closing a client from 127.0.0.1, its TLS handshake failed: {why[kind]}"
    wait_until(lambda: noted in caplog.text, "the reason is noted")


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([], "must have one common name (CN), not 0"),
        (["ann", "root"], "must have one common name (CN), not 2"),
        (["M\u00fcller"], "printable ASCII"),
        (["ann\n"], "printable ASCII"),
        (["ann\0root"], "printable ASCII"),
    ],
)
def test_a_certificate_without_one_clear_name_is_told(connect: Connect, names: list[str], words: str) -> None:
    client = connect(*names)
    assert words in (client.reply()[0].text or "")
    assert client.is_closed()


def test_without_client_authorities_nobody_is_asked(
    start_gateway: StartGateway, authority: Authority
) -> None:
    gateway = start_gateway(tls_cert=authority.issue("the exchange"))
    gateway.tls = authority.trust()
    assert said(gateway.ask(CREATE)) == ["created", "created"]


def test_a_health_check_shows_a_certificate_that_needs_no_rights(
    gateway: Gateway, authority: Authority
) -> None:
    context = authority.trust(authority.issue("health"))
    assert ping(*gateway.address, timeout=30, tls=context) > 0
    with pytest.raises(PingError, match=r"can't speak TLS with|can't reach"):
        ping(*gateway.address, timeout=30, tls=authority.trust())
    host, port = gateway.address
    environment = {
        "PGBOURSE_TLS_CA": str(authority.file),
        "PGBOURSE_CLIENT_CERT": str(authority.issue("health")),
        "PGBOURSE_PORT": str(port),
        "PGBOURSE_HOST": host,
    }
    assert " answered in " in CliRunner().invoke(cli, ["ping"], env=environment).output


def test_a_name_is_that_of_its_connection_alone(gateway: Gateway, connect: Connect) -> None:
    """One after the other, so that descriptors and sessions are used again."""
    for _ in range(10):
        with connect("root") as root:
            assert ask_for(root, 1)[0] == "opened"
        with connect("eve") as eve:
            assert ask_for(eve, 1)[0] == "not permitted"


def test_the_certificates_of_the_manual_will_do(
    start_gateway: StartGateway, tmp_path: Path, connection: Session
) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    manual = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    commands = re.search(r"^### Certificates$.*?^```sh\n(.*?)^```$", manual, re.DOTALL | re.MULTILINE)
    bindings = re.search(r"^### Who may do what$.*?^```sql\n(.*?)^```$", manual, re.DOTALL | re.MULTILINE)
    assert commands is not None
    assert bindings is not None
    subprocess.run(["sh", "-euc", commands[1]], cwd=tmp_path, check=True, capture_output=True)
    connection.execute(bindings[1].encode())
    at = {name: tmp_path / name for name in ("ca.pem", "server.pem", "server.key", "ann.pem", "ann.key")}
    gateway = start_gateway(tls_cert=at["server.pem"], tls_key=at["server.key"], tls_client_ca=at["ca.pem"])
    tls = client_context(at["ca.pem"], at["ann.pem"], at["ann.key"])
    with Client("localhost", gateway.address[1], tls=tls) as client:
        for account, words in (("123456", "no such account: 123456"), ("9", "may not act for account 9")):
            with pytest.raises(RequestRefused, match=words):
                client.place_order(account, "X", 1, 1)


def test_whoever_may_act_for_an_account_may_follow_the_market(
    gateway: Gateway, connect: Connect, connection: Session
) -> None:
    odd = 'o"dd\\, {name}'
    connection.execute("insert into exchange.certificate_accounts values (%s, '3')", [odd])
    for name, answer in {"ann": "snapshot", "root": "snapshot", odd: "snapshot", "eve": "error"}.items():
        feed = Feed(connect(name), "X")
        assert feed.next().tag == answer, name
    gateway.ask(b'<transactions id="1"><order sym="X" amount="1" limit="1"/></transactions>')
    assert Feed(connect("eve"), "Z").line() == (
        b'<error sym="Z">the certificate of eve may not subscribe: it is bound to no account</error>\n'
    )
