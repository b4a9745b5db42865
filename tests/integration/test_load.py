"""`pgbourse load` against our server, and against others that misbehave; `pgbourse generate` against ours."""

import copy
import itertools
import json
import os
import re
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from lxml import etree
from psycopg.rows import TupleRow

from pgbourse.cli import main
from pgbourse.client import ClientError
from pgbourse.loadtest.connections import LoadError, Target
from pgbourse.loadtest.generate import documents
from pgbourse.loadtest.load import LoadSettings, load
from pgbourse.loadtest.reference_server import ReferenceServer
from pgbourse.loadtest.run import Run
from pgbourse.loadtest.templates import KINDS
from pgbourse.loadtest.workload import Feeder, Workload
from pgbourse.wire.framing import Framer, Framing
from tests.faults.scene import GatewayProcess
from tests.integration.client import server_that, wait_until
from tests.integration.conftest import Gateway, StartGateway
from tests.integration.tls import Authority

# Pieces to send one by one; None closes the connection, and an empty list is no answer.
Answer = list[bytes | None]
WORKLOAD = Workload(accounts=8, symbols=2)
# More that rests than takes, so that there is something to change, and not all of it is cancelled at once.
WEIGHTS = dict.fromkeys(KINDS, 1.0) | {"order": 12.0, "stp": 3.0, "cancel-all": 0.5}
MIXED = replace(WORKLOAD, orders=3, refs="r", mix=tuple(WEIGHTS.items()))


@pytest.fixture
def settings(tmp_path: Path) -> LoadSettings:
    """What most tests ask for: 200 documents from 4 clients. Each test names its target."""
    return LoadSettings(
        target=Target("127.0.0.1", 1),
        workload=WORKLOAD,
        clients=4,
        seconds=None,
        documents=200,
        rate=None,
        check=False,
        json_file=tmp_path / "load.json",
        progress=False,
    )


def result(settings: LoadSettings) -> Any:
    assert settings.json_file is not None
    return json.loads(settings.json_file.read_text())


@pytest.mark.parametrize("new_connection_each", [False, True])
@pytest.mark.parametrize("framing", list(Framing))
@pytest.mark.parametrize("orders", [1, 7])
def test_load_counts_what_the_database_holds(
    gateway: Gateway,
    connection: psycopg.Connection[TupleRow],
    settings: LoadSettings,
    framing: Framing,
    new_connection_each: bool,
    orders: int,
) -> None:
    target = Target(*gateway.address, framing, new_connection_each)
    workload = replace(WORKLOAD, orders=orders)
    assert load(replace(settings, target=target, workload=workload, check=True)) == 0
    report = result(settings)
    assert report["result"]["documents"] == 200
    assert report["result"]["opened"] == 200 * orders
    assert report["check"] == {"unknown_documents": 0, "findings": 0, "first": []}
    assert connection.execute("select count(*) from exchange.orders").fetchall() == [(200 * orders,)]


def test_a_mix_with_queries_and_cancels_is_checked(
    gateway: Gateway, connection: psycopg.Connection[TupleRow], settings: LoadSettings
) -> None:
    workload = replace(WORKLOAD, orders=5, queries=0.2, cancels=0.3)
    target = Target(*gateway.address)
    assert load(replace(settings, target=target, workload=workload, check=True, clients=20)) == 0
    figures = result(settings)["result"]
    assert figures["requests"] == 1000
    rows = connection.execute(
        "select (select count(*) from exchange.orders), (select count(*) from exchange.cancellations), "
        "(select count(*) from exchange.executions)"
    )
    ((orders, cancellations, executions),) = rows.fetchall()
    assert orders == figures["opened"] > 400
    assert cancellations > 20
    assert executions > 100
    assert set(figures["errors"]) <= {"order N has no open shares to cancel"}


def test_a_mix_of_all_kinds_is_checked(
    gateway: Gateway, connection: psycopg.Connection[TupleRow], settings: LoadSettings
) -> None:
    target = Target(*gateway.address)
    assert load(replace(settings, target=target, workload=MIXED, check=True, clients=20, documents=400)) == 0
    figures = result(settings)["result"]
    assert figures["requests"] == 1200
    rows = connection.execute(
        "select (select count(*) from exchange.orders), "
        "(select count(*) from exchange.order_terms where tif = 'IOC'), "
        "(select count(*) from exchange.order_terms where replaced_order_id is not null), "
        "(select count(*) from exchange.reductions), "
        "(select count(*) from exchange.order_terms where passed_order_ids is not null), "
        "(select count(*) from exchange.switches)"
    )
    ((orders, *others),) = rows.fetchall()
    assert orders == figures["opened"] > 400
    assert min(others) > 0


@pytest.mark.parametrize(
    ("reply_framing", "framing"), [("length", Framing.BARE), ("mirror", Framing.BINARY_LENGTH)]
)
def test_replies_with_a_length_before_them_are_understood(
    start_gateway: StartGateway, settings: LoadSettings, reply_framing: str, framing: Framing
) -> None:
    target = Target(*start_gateway(reply_framing=reply_framing).address, framing)
    assert load(replace(settings, target=target, check=True)) == 0


def test_a_server_that_closes_after_each_reply_needs_new_connections(
    start_gateway: StartGateway, settings: LoadSettings
) -> None:
    target = Target(*start_gateway(close_after_reply=True).address)
    workload = replace(WORKLOAD, accounts=120)
    with pytest.raises(LoadError, match=r"the set-up failed.*--new-connection-each"):
        load(replace(settings, target=target, workload=workload))
    target, workload = replace(target, new_connection_each=True), replace(workload, first_account=5000)
    assert load(replace(settings, target=target, workload=workload)) == 0


def test_accounts_that_exist_are_told_at_once(gateway: Gateway, settings: LoadSettings) -> None:
    target = Target(*gateway.address)
    assert load(replace(settings, target=target)) == 0
    with pytest.raises(LoadError, match="the set-up was refused: 8 x account N exists already"):
        load(replace(settings, target=target))


def test_a_time_limit_ends_the_run(gateway: Gateway, settings: LoadSettings) -> None:
    assert load(replace(settings, target=Target(*gateway.address), documents=None, seconds=0.6)) == 0
    figures = result(settings)["result"]
    assert figures["seconds"] >= 0.59
    assert figures["unanswered"] == 0
    assert figures["series"][-1][1] == figures["documents"] > 0


# Other servers


@contextmanager
def exchange_that(answer: Callable[[int, bytes], Answer]) -> Iterator[Target]:
    """A server that isn't ours: it creates what it is asked to, and answers the nth document as told."""
    count = iter(range(1_000_000))

    def serve(client: socket.socket) -> None:
        framer = Framer(1 << 20)
        with client:
            while data := client.recv(65536):
                for frame in framer.feed(data):
                    is_setup = b"<create>" in frame.document
                    for piece in opened(frame.document) if is_setup else answer(next(count), frame.document):
                        if piece is None:
                            return
                        client.sendall(piece)

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threads.append(threading.Thread(target=guard, args=(client,)))
            threads[-1].start()

    def guard(client: socket.socket) -> None:
        try:
            serve(client)
        except (BrokenPipeError, ConnectionResetError):
            return

    threads: list[threading.Thread] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threads.append(threading.Thread(target=accept))
        threads[0].start()
        yield Target("127.0.0.1", listener.getsockname()[1], stall_seconds=0.2)
        listener.shutdown(socket.SHUT_RDWR)
    for thread in threads:
        thread.join()


SERVER = f'<results><server version="9" features="{" ".join(MIXED.features())}"/></results>\n'.encode()


def opened(document: bytes) -> Answer:
    """Answer every request of a document."""
    if b"<server/>" in document:
        return [SERVER]
    number = document.count(b"<account") + document.count(b"<order")
    return [b"<results>" + b'<opened id="1"/>' * number + b"</results>\n"]


HALF = b'<?xml version="1.0"?><results><opened id="1"'


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ([], "the server has stalled: 4 of 4 clients got no reply in 0.2 s, not a byte"),
        ([HALF], "the server has stalled.*after no more than '<"),
        ([None], "the server closed a connection without a reply"),
        ([HALF, None], "the server closed a connection within a reply, after '<"),
        ([b"HTTP/1.1 400 Bad Request\r\n"], "sent something that is not a reply: 'HTTP"),
        ([b"<html>" + b"-" * 100, None], "sent something that is not a reply: '<html>"),
        ([b"\xff" * 100], "sent something that is not a reply"),
    ],
)
def test_a_server_that_fails_is_told_in_one_line(
    answer: Answer, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--seconds", "30", "--clients", "4", "--accounts", "8", "--stall-seconds", "0.2"]
    with exchange_that(lambda _number, _document: answer) as target, pytest.raises(SystemExit) as end:
        main(["load", "--port", str(target.port), *options, "--no-progress"])
    assert end.value.code == 1
    printed = capsys.readouterr()
    (line,) = printed.err.splitlines()
    assert line.startswith("pgbourse: ")
    assert re.search(says, line)
    assert "documents were sent and not answered" in printed.out


def test_a_server_that_fails_later_leaves_its_figures(settings: LoadSettings) -> None:
    with (
        exchange_that(lambda number, document: opened(document) if number < 50 else [None]) as target,
        # "without", if it is one of a client that has only begun.
        pytest.raises(LoadError, match=r"the server closed a connection (after|without) a reply"),
    ):
        load(replace(settings, target=target, check=True))
    figures = result(settings)["result"]
    assert 40 <= figures["documents"] <= 50
    assert figures["unanswered"] > 0


def test_who_is_told_that_the_server_stops_sends_no_more(settings: LoadSettings) -> None:
    stopping = b"<results>\n  <error>the server is stopping: this was not carried out</error>\n</results>\n"
    with (
        exchange_that(
            lambda number, document: opened(document) if number < 50 else [stopping if number < 60 else None]
        ) as target,
        pytest.raises(LoadError, match="the server is stopping"),
    ):
        load(replace(settings, target=target))
    figures = result(settings)["result"]
    assert 40 <= figures["documents"] <= 54
    assert figures["unanswered"] == 0


def test_nobody_there_is_told_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(SystemExit) as end:
        main(["load", "--port", str(port), "--seconds", "30"])
    assert end.value.code == 1
    assert capsys.readouterr().err == f"pgbourse: can't connect to 127.0.0.1:{port}: Connection refused\n"


def test_too_few_results_are_counted(settings: LoadSettings) -> None:
    with exchange_that(lambda _number, _document: [b"<results/>\n"]) as target:
        assert load(replace(settings, target=target)) == 1
    assert result(settings)["result"]["incomplete"] == 200


def test_a_server_that_refuses_everything_fails_the_run(settings: LoadSettings) -> None:
    with exchange_that(
        lambda _number, _document: [b"<results><error>closed today</error></results>"]
    ) as target:
        assert load(replace(settings, target=target)) == 1
    assert result(settings)["result"]["errors"] == {"closed today": 200}


def test_a_reply_may_come_in_any_pieces(settings: LoadSettings) -> None:
    def piecemeal(_number: int, document: bytes) -> Answer:
        (reply,) = opened(document)
        assert reply is not None
        return [bytes([byte]) for byte in reply]

    with exchange_that(piecemeal) as target:
        assert load(replace(settings, target=target, documents=20)) == 0
    assert result(settings)["result"]["opened"] == 20


def test_check_finds_an_exchange_that_lies(settings: LoadSettings) -> None:
    """It says that every order has the id 1."""
    with exchange_that(lambda _number, document: opened(document)) as target:
        assert load(replace(settings, target=target, check=True)) == 1
    assert result(settings)["check"]["findings"] > 100


def test_with_a_rate_latency_counts_from_when_a_document_was_due() -> None:
    """The first reply is held back for half a second: by the time the others go, they have long been due."""
    released = threading.Event()

    def hold_first(number: int, document: bytes) -> Answer:
        if number == 0:
            assert released.wait(60)
        return opened(document)

    with exchange_that(hold_first) as target:
        run = Run(
            replace(target, stall_seconds=60),
            iter([next(Feeder(WORKLOAD)) for _ in range(50)]),
            clients=1,
            rate=1000.0,
            on_tick=lambda _measurement: released.set(),
        )
        measurement = run.go()
    assert measurement.failure is None
    assert measurement.documents == 50
    assert measurement.latency_ms()["p50"] > 400


def test_a_rate_that_the_server_can_not_keep_is_told(settings: LoadSettings) -> None:
    with exchange_that(lambda _number, document: opened(document)) as target:
        settings = replace(settings, target=target, clients=1, documents=None, seconds=0.5, rate=1e6)
        assert load(settings) == 0
    figures = result(settings)["result"]
    assert figures["unsent"] > 100_000
    assert figures["documents"] + figures["unsent"] == pytest.approx(5e5, rel=0.3)


def test_ctrl_c_ends_the_run_with_its_summary(
    settings: LoadSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(number: int, document: bytes) -> Answer:
        if number == 100:
            os.kill(os.getpid(), signal.SIGINT)
        return opened(document)

    with exchange_that(interrupt) as target:
        settings = replace(settings, target=target, documents=None, seconds=60.0)
        assert load(settings) == 130
    figures = result(settings)["result"]
    assert figures["documents"] > 100
    assert figures["unanswered"] == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"set-up on {target.host}:{target.port}: ")
    assert f"{figures['documents']} documents answered" in printed


# Generated documents


@pytest.mark.parametrize("prefix", ["", "<", "\xfc", "a b"])
@pytest.mark.parametrize("command", [["load"], ["generate", "5", "nowhere"]])
def test_symbols_are_what_the_protocol_allows(
    command: list[str], prefix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main([*command, "--symbol-prefix", prefix])
    assert end.value.code == 2
    assert f"--symbol-prefix {prefix!r} must be ASCII letters and digits" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--mix", "order=1,iok=2"], "--mix has 'iok=2': it must be a kind and a number"),
        (["--mix", "order"], "--mix has 'order'"),
        (["--mix", "order=-1"], "--mix has 'order=-1'"),
        (["--mix", ""], "--mix has ''"),
        (["--mix", "order=0,ioc=0.0"], "--mix draws nothing"),
        (["--mix", "order=1", "--queries", "0.5"], "--mix says how many queries and cancels there are"),
        (["--mix", "order=1", "--cancels", "0.5"], "--mix says how many queries and cancels there are"),
    ],
)
@pytest.mark.parametrize("command", [["load"], ["generate", "5", "nowhere"]])
def test_a_mix_that_can_not_be_read_is_refused(
    command: list[str], options: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main([*command, *options])
    assert end.value.code == 2
    assert says in capsys.readouterr().err


def test_a_mix_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "documents"
    with pytest.raises(SystemExit) as end:
        main(["generate", "60", str(folder), "--mix", "ioc=2.5, query=1", "--refs", "--accounts", "5"])
    assert not end.value.code
    written = b"".join(path.read_bytes() for path in folder.glob("????.xml"))
    assert b' ref="r-1" tif="IOC"/>' in written
    assert b"<query id=" in written


@pytest.mark.parametrize("orders", [1, 5])
@pytest.mark.parametrize(
    "kinds",
    [
        {"queries": 0.2, "cancels": 0.2},
        {"mix": [(kind, 1.0) for kind in KINDS], "refs": "r"},
        {"mix": [(kind, 1.0) for kind in KINDS if kind not in ("cancel", "cancel-all")]},
    ],
)
def test_generated_documents_are_answered_as_expected(
    gateway: Gateway, orders: int, kinds: dict[str, Any]
) -> None:
    workload = Workload(orders=orders, accounts=6, symbols=2, spread=2, first_account=1, **kinds)
    with gateway.connect() as client:
        for document, expected in documents(workload, 150):
            reply = client.ask(document)
            etree.indent(reply)
            told = etree.tostring(reply, encoding="unicode")
            assert re.sub(' (time|armed|seq)="[0-9]+"', r' \1="0"', told) == expected


# Lost connections


class Unreliable:
    """A sound exchange that closes connections instead of replying, having done what was asked or not."""

    def __init__(self, workload: Workload, closes: Callable[[int], bool]) -> None:
        self._closes = closes
        self._done = itertools.cycle((False, True))
        self._market = ReferenceServer()
        self._lock = threading.Lock()
        for document, _ in workload.setup_documents():
            self._market.reply(document)

    def answer(self, number: int, document: bytes) -> Answer:
        with self._lock:
            if not self._closes(number):
                return [self._market.reply(document).encode() + b"\n"]
            if next(self._done):
                self._market.reply(document)
            return [None]


class Forgetful(Unreliable):
    """Falls back, when it closes a connection, to what it was ten documents before."""

    def answer(self, number: int, document: bytes) -> Answer:
        if self._closes(number + 10):
            self._before = copy.deepcopy(self._market)
        reply = super().answer(number, document)
        if self._closes(number):
            self._market = self._before
        return reply


def reconnecting(target: Target, **changes: Any) -> Target:
    return replace(target, reconnect=True, stall_seconds=60.0, **changes)


@pytest.mark.parametrize("rate", [None, 2000.0])
@pytest.mark.parametrize("new_connection_each", [False, True])
def test_a_run_carries_on_after_lost_connections(
    settings: LoadSettings,
    capsys: pytest.CaptureFixture[str],
    new_connection_each: bool,
    rate: float | None,
) -> None:
    exchange = Unreliable(WORKLOAD, lambda number: number % 40 == 39 and number < 200)
    with exchange_that(exchange.answer) as target:
        target = reconnecting(target, new_connection_each=new_connection_each)
        settings = replace(settings, target=target, check=True, rate=rate)
        assert load(settings) == 0
    report = result(settings)
    assert report["result"]["documents"] == 195
    assert report["result"]["unanswered"] == 5
    assert report["result"]["lost_connections"] == 5
    assert report["check"]["findings"] == 0
    assert report["check"]["unknown_documents"] == 5
    printed = capsys.readouterr().out
    assert "5 connections were lost" in printed
    assert "check: 5 documents went unanswered, and may have been done or not" in printed


@pytest.mark.parametrize("rate", [None, 2000.0])
@pytest.mark.parametrize("new_connection_each", [False, True])
def test_with_refs_nothing_is_in_doubt_after_lost_connections(
    settings: LoadSettings,
    capsys: pytest.CaptureFixture[str],
    new_connection_each: bool,
    rate: float | None,
) -> None:
    """Of the documents without an answer, each second one had been carried out."""
    exchange = Unreliable(MIXED, lambda number: number % 20 == 19 and number < 200)
    with exchange_that(exchange.answer) as target:
        target = reconnecting(target, new_connection_each=new_connection_each)
        settings = replace(settings, target=target, workload=MIXED, check=True, rate=rate)
        assert load(settings) == 0
    report = result(settings)
    figures = report["result"]
    assert (figures["documents"], figures["unanswered"], figures["resent"]) == (200, 0, 10)
    assert report["check"] == {"unknown_documents": 0, "findings": 0, "first": []}
    assert "10 documents had no answer and were sent again" in capsys.readouterr().out


def test_the_last_documents_are_sent_again_as_well(settings: LoadSettings) -> None:
    exchange = Unreliable(MIXED, lambda number: number in (199, 200, 201))
    with exchange_that(exchange.answer) as target:
        settings = replace(settings, target=reconnecting(target), workload=MIXED, clients=1, check=True)
        assert load(settings) == 0
    figures = result(settings)["result"]
    assert (figures["documents"], figures["unanswered"], figures["resent"]) == (200, 0, 3)


def test_an_exchange_that_heeds_no_refs_is_found_out(settings: LoadSettings) -> None:
    """It says that it does."""
    exchange = Unreliable(MIXED, lambda number: number % 20 == 19 and number < 200)

    def answer(number: int, document: bytes) -> Answer:
        return exchange.answer(number, re.sub(rb' ref="[^"]*"', b"", document))

    with exchange_that(answer) as target:
        settings = replace(settings, target=reconnecting(target), workload=MIXED, check=True)
        assert load(settings) == 1


def test_what_is_sent_again_in_vain_is_in_doubt(settings: LoadSettings) -> None:
    with exchange_that(lambda number, document: opened(document) if number < 50 else [None]) as target:
        target = replace(reconnecting(target), stall_seconds=1.0)
        workload = replace(WORKLOAD, refs="r")
        with pytest.raises(LoadError, match="the server has been away for 1 s"):
            load(replace(settings, target=target, workload=workload))
    figures = result(settings)["result"]
    assert (figures["documents"], figures["unanswered"]) == (50, 4)


def test_what_a_server_would_ignore_is_not_asked_of_it(settings: LoadSettings) -> None:
    workload = replace(WORKLOAD, refs="r", mix=[("ioc", 1.0)])
    with server_that(lambda server: server.sendall(b"<results><error>what?</error></results>\n")) as address:
        target = Target(*address)
        with pytest.raises(ClientError, match="the server does not know ref, tif"):
            load(replace(settings, target=target, workload=workload))


def test_an_exchange_that_forgets_what_it_acknowledged_is_found_out(settings: LoadSettings) -> None:
    exchange = Forgetful(WORKLOAD, lambda number: number == 100)
    with exchange_that(exchange.answer) as target:
        settings = replace(settings, target=reconnecting(target), check=True)
        assert load(settings) == 1
    (line, *_) = result(settings)["check"]["first"]
    assert "two orders have the id" in line


def test_a_question_that_gets_lost_is_asked_again(settings: LoadSettings) -> None:
    """The run has 200 documents; the two after them are queries, one for each account."""
    exchange = Unreliable(WORKLOAD, lambda number: number in (200, 201))
    with exchange_that(exchange.answer) as target:
        settings = replace(settings, target=reconnecting(target), check=True)
        assert load(settings) == 0
    assert result(settings)["check"] == {"unknown_documents": 0, "findings": 0, "first": []}


def test_a_server_that_stays_away_ends_the_run(settings: LoadSettings) -> None:
    gone = threading.Event()

    def answer(number: int, document: bytes) -> Answer:
        if number < 50:
            return opened(document)
        gone.set()
        return [None]

    with exchange_that(answer) as target:
        target = replace(reconnecting(target), stall_seconds=1.0)
        with pytest.raises(LoadError, match="the server has been away for 1 s"):
            load(replace(settings, target=target, documents=None, seconds=60.0))
    assert gone.is_set()
    figures = result(settings)["result"]
    assert figures["documents"] == 50
    assert figures["longest_silence_seconds"] >= 1.0


@pytest.mark.parametrize(("secured", "refs"), [(False, False), (True, False), (False, True)])
def test_a_gateway_that_is_killed_and_started_again_keeps_its_word(
    database: str,
    settings: LoadSettings,
    tmp_path: Path,
    connection: psycopg.Connection[TupleRow],
    secured: bool,
    refs: bool,
) -> None:
    """With refs nothing stays in doubt: there are as many orders as were acknowledged."""
    workload = MIXED if refs else replace(WORKLOAD, orders=3, queries=0.2, cancels=0.1)
    documents = 700 if refs else 1500
    authority = Authority(tmp_path, "authority")
    options = ["--tls-cert", str(authority.issue("the exchange", server_only=True))] if secured else []

    def orders() -> int:
        ((number,),) = connection.execute("select count(*) from exchange.orders").fetchall()
        return int(number)

    def there_are(number: int) -> Callable[[], bool]:
        return lambda: orders() >= number

    def kill_and_start_again() -> None:
        for enough in (100, 200):
            wait_until(there_are(enough), "there are orders")
            gateway.end()
            gateway.start()

    with GatewayProcess(tmp_path / "gateway.log", "--database-url", database, *options) as gateway:
        target = reconnecting(Target(*gateway.address, tls=authority.trust() if secured else None))
        settings = replace(settings, target=target, check=True, documents=documents)
        with ThreadPoolExecutor(1) as executor:
            killed = executor.submit(kill_and_start_again)
            assert load(replace(settings, workload=workload)) == 0
            killed.result()
    report = result(settings)
    figures = report["result"]
    assert figures["lost_connections"] >= 2
    assert figures["unanswered"] == report["check"]["unknown_documents"]
    assert (figures["unanswered"] == 0) == (figures["resent"] > 0) == refs
    assert figures["documents"] + figures["unanswered"] == documents
    assert figures["opened"] <= orders() <= figures["opened"] + 3 * figures["unanswered"]
