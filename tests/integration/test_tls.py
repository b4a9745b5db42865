"""TLS: what the wire promises holds over it too; and a handshake that fails or never ends harms nobody."""

import contextlib
import logging
import random
import socket
import ssl
import threading
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pgbourse.cli import cli, main
from pgbourse.client import Client, ClientError
from pgbourse.client.ping import PingError, ping
from pgbourse.client.send import send
from pgbourse.loadtest.connections import Target
from pgbourse.loadtest.load import set_up
from pgbourse.loadtest.workload import Workload
from pgbourse.serve.service import allow_open_files
from pgbourse.tls import client_context, validity
from pgbourse.wire.framing import Framing, wrap_reply
from tests.integration import test_limits, test_server
from tests.integration.client import length_line, wait_until
from tests.integration.conftest import Gateway, StartGateway
from tests.integration.test_server import CREATE, CREATED, buy
from tests.integration.tls import Authority, TlsClient

# These are the tests of plain TCP, whose clients here speak TLS: see start_gateway below.
test_framings = test_server.test_each_request_framing_gets_the_reply_framing_that_was_set
test_many_requests = test_server.test_a_connection_serves_many_requests_in_different_framings
test_close_after_reply = test_server.test_close_after_reply_carries_out_one_request_and_closes
test_pipelining = test_server.test_pipelined_requests_are_answered_in_order
test_half_close = test_server.test_a_half_closed_connection_gets_every_reply
test_bad_frames = test_server.test_a_bad_frame_is_told_after_the_replies_before_it_and_closes
test_unfinished = test_server.test_an_unfinished_request_at_the_end_of_input_is_told
test_time_for_requests = test_server.test_a_request_must_be_finished_in_time_but_an_idle_connection_stays
test_slow_clients = test_server.test_a_client_that_does_not_read_is_not_read_from_and_loses_nothing
test_clients_that_never_read = test_server.test_a_client_that_never_reads_is_closed
test_full_queue = test_server.test_a_full_queue_stops_reading_until_there_is_room
test_resets = test_server.test_a_reset_connection_harms_no_other
test_stop = test_server.test_a_stop_answers_what_was_received_and_nothing_else
test_idle_connections = test_limits.test_an_idle_connection_is_closed_through_the_wire

START = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"  # of a handshake: as many bytes as 512 shall follow


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "authority")


@pytest.fixture
def server_certificate(authority: Authority) -> Path:
    return authority.issue("the exchange", server_only=True)


@pytest.fixture(params=[ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def version(request: pytest.FixtureRequest) -> ssl.TLSVersion:
    """The version of TLS that clients speak at most."""
    return ssl.TLSVersion(request.param)


@pytest.fixture
def start_gateway(
    start_gateway: StartGateway, authority: Authority, server_certificate: Path, version: ssl.TLSVersion
) -> StartGateway:
    """Start gateways that speak TLS, with clients that do."""

    def start(**settings: Any) -> Gateway:
        gateway = start_gateway(tls_cert=server_certificate, **settings)
        gateway.tls = authority.trust()
        gateway.tls.maximum_version = version
        return gateway

    return start


@pytest.fixture
def gateway(start_gateway: StartGateway) -> Gateway:
    return start_gateway()


@pytest.fixture
def plain(gateway: Gateway) -> Iterator[Callable[[bytes], socket.socket]]:
    """Open a connection without TLS, and say something on it."""
    with contextlib.ExitStack() as stack:

        def connect(said: bytes) -> socket.socket:
            client = stack.enter_context(socket.create_connection(gateway.address, 60))
            client.sendall(said)
            return client

        yield connect


def wire(client: Any) -> Any:
    assert isinstance(client, TlsClient)
    return client.wire


@pytest.mark.parametrize("framing", Framing)
def test_a_client_that_ends_tcp_alone_gets_every_reply(gateway: Gateway, framing: Framing) -> None:
    """As many clients end TLS: without a word."""
    client = gateway.connect()
    client.send_raw(wrap_reply(CREATE, framing) + wrap_reply(buy(1), framing) * 200)
    wire(client).below.shutdown(socket.SHUT_WR)
    assert client.rest().count(b"<opened") == 200


@pytest.mark.parametrize("framing", Framing)
def test_what_is_cut_short_is_not_carried_out(gateway: Gateway, framing: Framing) -> None:
    """Whoever can't forge can still cut the connection, at any byte."""
    gateway.ask(CREATE)
    request = wrap_reply(buy(1), framing).rstrip()
    for length in range(0, len(request), 7):
        client = gateway.connect()
        client.send_raw(request[:length])
        wire(client).below.shutdown(socket.SHUT_WR)
        assert b"<opened" not in client.rest()


def test_the_end_is_said_in_tls_as_well(gateway: Gateway) -> None:
    client = gateway.connect()
    client.send(CREATE)
    client.half_close()
    assert client.rest() == CREATED + b"\n"
    assert wire(client).said_goodbye


def test_megabytes_pass_both_ways_at_once(start_gateway: StartGateway) -> None:
    gateway = start_gateway(max_document_bytes=64 << 20)
    client = gateway.connect()
    padding = b"<!--" + random.Random(1).randbytes(3_000_000).hex().encode() + b"-->"
    document = b'<transactions id="1">' + padding + b'<query id="1"/>' * 60_000 + b"</transactions>"
    sender = threading.Thread(target=client.send, args=[document] * 3)
    sender.start()
    for _ in range(3):
        reply = client.reply()  # 3 MB
        assert len(reply) == 60_000
        assert {child.text for child in reply} == {"no such order: 1"}
    sender.join()


def test_many_clients_pipeline_at_once(gateway: Gateway) -> None:
    gateway.ask(CREATE)
    clients = [gateway.connect() for _ in range(50)]
    for client in clients:
        client.send(*[buy(number) for number in range(1, 21)])
    for client in clients:
        replies = [client.reply()[0] for _ in range(20)]
        assert [reply.get("amount") for reply in replies] == [str(number) for number in range(1, 21)]


@pytest.mark.parametrize(
    "said",
    [CREATE, length_line(CREATE), b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 100_000, START + b"x" * 600],
    ids=["bare", "length line", "http", "garbage", "a bad hello"],
)
def test_what_is_not_tls_is_closed_and_noted_once(
    gateway: Gateway,
    plain: Callable[[bytes], socket.socket],
    caplog: pytest.LogCaptureFixture,
    said: bytes,
) -> None:
    caplog.set_level(logging.INFO, "pgbourse")
    client = plain(said)
    with contextlib.suppress(ConnectionError):
        while data := client.recv(65536):
            assert b"results" not in data
    assert gateway.ask(CREATE)[0].tag == "created"
    lines = [record.getMessage() for record in caplog.records if "closing" in record.getMessage()]
    assert len(lines) == 1
    assert lines[0].startswith("closing a client from 127.0.0.1, its TLS handshake failed: ")


@pytest.mark.parametrize("said", [b"", START[:3], START, START + b"x" * 100])
def test_a_handshake_that_is_not_finished_in_time_is_closed(start_gateway: StartGateway, said: bytes) -> None:
    gateway = start_gateway(request_timeout=0.3)
    idle = gateway.connect()
    with socket.create_connection(gateway.address, 60) as client:
        client.sendall(said)
        assert client.recv(1000) == b""
    assert idle.ask(CREATE)[0].tag == "created"


def test_clients_that_leave_within_the_handshake_are_forgotten(
    gateway: Gateway, plain: Callable[[bytes], socket.socket], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "pgbourse")
    for _ in range(20):
        plain(START).close()
        plain(b"").close()
    wait_until(lambda: gateway.traffic.accepted == 40, "all have come")
    wait_until(lambda: not gateway.traffic.connections, "all are forgotten")
    assert "handshake" not in caplog.text


def test_500_clients_within_the_handshake_stop_nobody(
    gateway: Gateway, plain: Callable[[bytes], socket.socket]
) -> None:
    allow_open_files(2000)
    for number in range(500):
        plain(START if number % 2 else b"")
    wait_until(lambda: gateway.traffic.connections == 500, "all are there")
    assert gateway.ask(CREATE)[0].tag == "created"
    for number in range(1, 20):
        assert gateway.ask(buy(number))[0].get("amount") == str(number)
    assert gateway.traffic.connections >= 500


def test_clients_within_the_handshake_count_as_connections(start_gateway: StartGateway) -> None:
    gateway = start_gateway(max_connections_per_address=2)
    with socket.create_connection(gateway.address, 60), socket.create_connection(gateway.address, 60):
        wait_until(lambda: gateway.traffic.connections == 2, "both are there")
        with pytest.raises((ssl.SSLError, ConnectionError)):
            gateway.connect()
    wait_until(lambda: not gateway.traffic.connections, "both are forgotten")
    assert gateway.ask(CREATE)[0].tag == "created"


def test_a_stop_waits_for_no_handshake(gateway: Gateway, plain: Callable[[bytes], socket.socket]) -> None:
    clients = [plain(b""), plain(START)]
    wait_until(lambda: gateway.traffic.connections == 2, "both are there")
    gateway.server.stop()
    assert [client.recv(1000) for client in clients] == [b"", b""]
    assert gateway.server.join()


def test_old_versions_are_refused(gateway: Gateway, authority: Authority) -> None:
    context = authority.trust()
    with warnings.catch_warnings(action="ignore"):
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        gateway.connect(tls=context)


def test_sessions_are_not_resumed(gateway: Gateway, authority: Authority) -> None:
    """Each connection has shown its certificate itself."""
    context = authority.trust()
    context.maximum_version = ssl.TLSVersion.TLSv1_3
    session = None
    for _ in range(2):
        below = socket.create_connection(gateway.address, 60)
        with context.wrap_socket(below, server_hostname="localhost", session=session) as client:
            client.sendall(length_line(CREATE))
            assert client.recv(1000)
            assert not client.session_reused
            session = client.session


def test_the_python_client_speaks_tls(gateway: Gateway) -> None:
    with Client(*gateway.address, tls=gateway.tls) as client:
        client.create_account("1", 10**6)
        client.create_symbol("X")
        for _ in range(2000):
            client.send(buy(1))
        assert [type(client.receive()[0]).__name__ for _ in range(2000)] == ["Opened"] * 2000
        document = b'<transactions id="1">' + b'<query id="1"/>' * 100_000 + b"</transactions>"
        assert len(client.ask(document)) == 100_000


def test_the_python_client_trusts_no_stranger(gateway: Gateway, tmp_path: Path) -> None:
    with pytest.raises(ClientError) as error:
        Client(*gateway.address, tls=Authority(tmp_path, "stranger").trust())
    assert isinstance(error.value.__cause__, ssl.SSLCertVerificationError)


def test_send_and_load_speak_tls(
    gateway: Gateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = tmp_path / "create.xml"
    document.write_bytes(CREATE)
    assert send([document], *gateway.address, gateway.tls) == 0
    assert "<created" in capsys.readouterr().out
    set_up(Target(*gateway.address, tls=gateway.tls), Workload(accounts=300, symbols=2))


@pytest.mark.parametrize("command", ["send", "load", "ping"])
def test_commands_speak_tls(
    gateway: Gateway, authority: Authority, server_certificate: Path, tmp_path: Path, command: str
) -> None:
    document = tmp_path / "create.xml"
    document.write_bytes(CREATE)
    arguments = {"send": [str(document)], "load": ["--documents", "50", "--accounts", "8"], "ping": []}
    host, port = gateway.address
    for trust in (["--tls-ca", str(authority.file)], ["--tls-cert", str(server_certificate)]):
        options = [command, "--host", host, "--port", str(port), *trust, *arguments[command]]
        result = CliRunner().invoke(cli, options, standalone_mode=False)
        assert result.exception is None, result.output


def test_a_health_check_needs_nothing_but_what_the_server_was_given(
    gateway: Gateway, authority: Authority, server_certificate: Path
) -> None:
    """As in the image, where serve and ping have the same environment; whatever the address is."""

    def check(certificate: Path) -> Any:
        environment = {"PGBOURSE_TLS_CERT": str(certificate), "PGBOURSE_HOST": "0.0.0.0"}
        environment["PGBOURSE_PORT"] = str(gateway.address[1])
        return CliRunner().invoke(cli, ["ping"], env=environment, standalone_mode=False)

    assert " answered in " in check(server_certificate).output
    other = check(authority.issue("the exchange"))
    assert isinstance(other.exception, PingError)
    assert "can't speak TLS with a server" in str(other.exception)


def test_a_ping_says_that_a_server_wants_tls_or_has_none(gateway: Gateway, authority: Authority) -> None:
    with pytest.raises(PingError, match=r"closed the connection|can't reach"):
        ping(*gateway.address, timeout=30)
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as other:

        def answer() -> None:
            client, _ = other.accept()
            with client:
                client.sendall(b"<results><error>a length was expected</error></results>\n")
                client.recv(65536)

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(PingError, match=r"can't speak TLS with .*: wrong version number"):
            ping("127.0.0.1", other.getsockname()[1], 30, client_context(authority.file))
        thread.join()


def test_a_client_says_what_is_wrong_with_tls(gateway: Gateway, tmp_path: Path) -> None:
    stranger = Authority(tmp_path, "a stranger")
    with pytest.raises(ClientError, match=r"can't speak TLS with a server at .*: .*certificate"):
        Client(*gateway.address, timeout=30, tls=stranger.trust())


def test_when_a_certificate_is_valid(authority: Authority) -> None:
    now = datetime.now(UTC)
    for expired in (False, True):
        valid = validity(authority.issue("x", expired=expired), None)
        assert valid is not None
        assert valid[0] < now - timedelta(days=1)
        assert (valid[1] < now) == expired


Refusal = Callable[..., str]


@pytest.fixture
def refusal(capsys: pytest.CaptureFixture[str]) -> Refusal:
    """Why `serve` does not start. With files that are good, it is that the address is not this machine's."""

    def start(*options: object) -> str:
        with pytest.raises(SystemExit) as exit_:
            main(["serve", "--host", "192.0.2.1", *map(str, options)])
        assert exit_.value.code == 1
        return capsys.readouterr().err.rstrip()

    return start


def test_a_key_may_be_in_a_file_of_its_own(authority: Authority, tmp_path: Path, refusal: Refusal) -> None:
    both = authority.issue("the exchange")
    text = both.read_text()
    beginning = text.index("-----BEGIN PRIVATE KEY")
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    certificate.write_text(text[:beginning])
    key.write_text(text[beginning:])
    for files in ([both], [certificate, "--tls-key", key]):
        told = refusal("--tls-cert", *files, "--tls-client-ca", authority.file)
        assert told.startswith("pgbourse: can't listen on port 12345 of 192.0.2.1")
    assert refusal("--tls-cert", certificate) == (
        f"pgbourse: there is no private key in {certificate}: name its file with --tls-key"
    )


def test_files_that_cannot_be_used_are_named(authority: Authority, tmp_path: Path, refusal: Refusal) -> None:
    good, other = authority.issue("the exchange"), authority.issue("another")
    secret = authority.issue("the exchange", passphrase=b"secret")
    missing, nonsense, broken = tmp_path / "missing", tmp_path / "nonsense", tmp_path / "broken"
    nonsense.write_text("nonsense")
    broken.write_text(good.read_text().replace("a", "b"))
    for options, words in (
        (["--tls-cert", missing], f"can't read {missing}: No such file or directory"),
        (["--tls-cert", good, "--tls-key", missing], f"can't read {missing}: No such file or directory"),
        (
            ["--tls-cert", good, "--tls-client-ca", missing],
            f"can't read {missing}: No such file or directory",
        ),
        (["--tls-cert", nonsense], f"there is no private key in {nonsense}: name its file with --tls-key"),
        (["--tls-cert", good, "--tls-key", nonsense], f"there is no private key in {nonsense}"),
        (
            ["--tls-cert", nonsense, "--tls-key", good],
            f"{nonsense} and {good} can't be read as a certificate",
        ),
        (["--tls-cert", broken], f"{broken} can't be read as a certificate and its key, in PEM"),
        (
            ["--tls-cert", good, "--tls-key", other],
            f"the key in {other} is not that of the certificate in {good}",
        ),
        (["--tls-cert", secret], f"the key in {secret} has a passphrase"),
        (["--tls-cert", good, "--tls-client-ca", nonsense], f"no certificates of authorities in {nonsense}"),
        (["--tls-key", good], "--tls-key goes with --tls-cert: without it no TLS is spoken"),
        (["--tls-client-ca", authority.file], "--tls-client-ca goes with --tls-cert"),
    ):
        told = refusal(*options)
        assert words in told
        assert "\n" not in told


def test_a_client_certificate_goes_with_tls(authority: Authority, refusal: Refusal) -> None:
    certificate = str(authority.issue("ann"))
    result = CliRunner().invoke(cli, ["ping", "--client-cert", certificate], standalone_mode=False)
    assert "--client-cert goes with --tls-ca" in str(result.exception)
