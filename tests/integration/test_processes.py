"""`pgbourse serve --processes N`: how clients are spread, who ends with whom, what is told of all."""

import contextlib
import re
import signal
import socket
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

import pgbourse.serve.family
from pgbourse.serve.family import ChildError, Family
from pgbourse.serve.listener import listen
from pgbourse.serve.service import allow_open_files
from pgbourse.settings import ServeSettings
from tests.integration.client import WireClient, wait_until
from tests.integration.conftest import Block, Session, StartService, waiting_workers
from tests.integration.service import Service, refuses
from tests.integration.tls import Authority, TlsClient

CREATE = b'<create><account id="1" balance="10"/></create>'
QUERY = b'<transactions id="1"><query id="1"/></transactions>'

StartFamily = Callable[..., Family]


def children(service: Service) -> list[psutil.Process]:
    """The processes that serve clients, the oldest first."""
    found = psutil.Process(service.process.pid).children()
    return sorted([one for one in found if "pgbourse.serve" in one.cmdline()], key=lambda one: one.pid)


def clients_of(process: psutil.Process, port: int) -> set[int]:
    """The ports of the clients that a process has."""
    return {one.raddr.port for one in process.net_connections("tcp") if one.laddr.port == port and one.raddr}


@contextlib.contextmanager
def connected(address: tuple[str, int], count: int) -> Iterator[list[WireClient]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(WireClient(address)) for _ in range(count)]


@pytest.fixture
def start_family(database: str) -> Iterator[StartFamily]:
    """Start a family whose parent is this process."""
    with contextlib.ExitStack() as stack:

        def start(host: str = "127.0.0.1", processes: int = 2, **settings: Any) -> Family:
            family = Family(listen(host, 0), database, ServeSettings(processes=processes, **settings))
            stack.callback(family.close)
            family.start()
            return family

        yield start


def test_one_process_is_one_process(database: str, start_service: StartService) -> None:
    service = start_service("--database-url", database, "--processes", "1")
    assert psutil.Process(service.process.pid).children() == []


def test_clients_are_spread_evenly_and_all_are_answered(database: str, start_service: StartService) -> None:
    service = start_service("--database-url", database, "--processes", "3")
    with connected(service.address, 60) as clients:
        assert {client.ask(CREATE)[0].tag for client in clients} == {"created", "error"}
        port = service.address[1]
        assert [len(clients_of(child, port)) for child in children(service)] == [20, 20, 20]
        for client in clients[::3]:  # those of one process leave
            client.socket.close()
        wait_until(
            lambda: sorted(len(clients_of(child, port)) for child in children(service)) == [0, 20, 20],
            "they are forgotten",
        )
        with connected(service.address, 20) as more:
            assert {client.ask(QUERY)[0].text for client in more} == {"no such order: 1"}
            assert [len(clients_of(child, port)) for child in children(service)] == [20, 20, 20]
    service.process.terminate()
    status, errors = service.end()
    assert status == 0
    assert len(re.findall(r"process \d \(pid \d+\) serves", errors)) == 3
    assert errors.splitlines()[-1].endswith("stopped: all that was received has been answered")


def test_a_child_that_is_killed_closes_its_own_clients_and_is_started_again(
    database: str, start_service: StartService
) -> None:
    service = start_service("--database-url", database, "--processes", "2", "--http-port", "0")
    with connected(service.address, 10) as clients:
        for client in clients:
            client.ask(CREATE)
        metrics = Metrics(service)
        wait_until(lambda: metrics.read()["pgbourse_document_latency_seconds_count"] == 10, "all are counted")
        first, second = children(service)
        lost = clients_of(first, service.address[1])
        first.kill()
        for client in clients:
            if client.socket.getsockname()[1] in lost:
                assert client.is_closed()
            else:
                assert client.ask(QUERY)[0].text == "no such order: 1"
        wait_until(lambda: metrics.read()["pgbourse_process_restarts_total"] == 1, "it is started again")
        wait_until(lambda: metrics.read()["pgbourse_processes"] == 2, "it serves again")
        with connected(service.address, 5) as more:
            for client in more:
                client.ask(QUERY)
            assert second in children(service)
            assert [len(clients_of(child, service.address[1])) for child in children(service)] == [5, 5]
            # What the dead one has counted is not forgotten.
            wait_until(
                lambda: metrics.read()["pgbourse_document_latency_seconds_count"] == 20, "all are counted"
            )
            assert metrics.read()["pgbourse_connections_accepted_total"] == 15
            assert metrics.read()["pgbourse_connections"] == 10
        assert metrics.verdict("/readyz") == (200, "ok\n")
    service.process.terminate()
    status, errors = service.end()
    assert status == 0
    assert f"(pid {first.pid}) was ended by SIGKILL, and its clients are closed; starting it again" in errors


class Metrics:
    """What a service says of itself over HTTP."""

    def __init__(self, service: Service) -> None:
        parent = psutil.Process(service.process.pid)
        ports = {one.laddr.port for one in parent.net_connections("tcp") if one.status == psutil.CONN_LISTEN}
        (self._port,) = ports - {service.address[1]}

    def verdict(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}{path}") as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def read(self) -> dict[str, float]:
        samples = [
            sample
            for family in text_string_to_metric_families(self.verdict("/metrics")[1])
            for sample in family.samples
        ]
        return {sample.name + sample.labels.get("process", ""): sample.value for sample in samples}


def test_the_metrics_of_each_process_are_told_apart(database: str, start_service: StartService) -> None:
    service = start_service("--database-url", database, "--processes", "2", "--http-port", "0")
    told = Metrics(service).read()
    assert {name for name in told if name.startswith("process_cpu_seconds_total")} == {
        f"process_cpu_seconds_total{process}" for process in ("parent", "1", "2")
    }


def test_nothing_outlives_a_parent_that_is_killed(folder: Path, start_service: StartService) -> None:
    service = start_service("--data-dir", str(folder / "server"), "--processes", "2")
    started = psutil.Process(service.process.pid).children(recursive=True)
    assert len(children(service)) == 2
    with connected(service.address, 2) as clients:
        for client in clients:
            client.ask(CREATE)
        service.process.kill()
        for client in clients:
            assert client.is_closed()
    gone, alive = psutil.wait_procs(started, timeout=30)
    assert alive == []
    assert len(gone) == len(started) > 3
    assert not (folder / "server" / "data" / "postmaster.pid").exists()  # PostgreSQL has shut down
    assert "the parent process is gone: ending at once" in service.end()[1]
    again = start_service("--data-dir", str(folder / "server"), "--processes", "2")
    with WireClient(again.address) as one:
        assert one.ask(CREATE)[0].text == "account 1 exists already"
    again.process.terminate()
    assert again.end()[0] == 0


def test_a_signal_lets_all_children_answer_what_they_received(
    database: str, start_service: StartService, block: Block, connection: Session
) -> None:
    service = start_service("--database-url", database, "--processes", "2")
    blocker = block()
    with connected(service.address, 20) as clients:
        for client in clients:
            client.send(CREATE, CREATE)
        wait_until(lambda: len(waiting_workers(connection)) >= 2, "requests are in the database")
        processes = children(service)
        service.process.terminate()
        wait_until(lambda: refuses(service.address), "it accepts no more connections")
        blocker.commit()
        tags = [client.reply()[0].tag for client in clients for _ in range(2)]
        assert tags.count("created") == 1
        assert all(client.is_closed() for client in clients)
    assert service.end()[0] == 0
    assert not any(process.is_running() for process in processes)


def test_connections_that_the_kernel_has_accepted_are_answered_too(
    database: str, start_service: StartService
) -> None:
    allow_open_files(1000)
    service = start_service("--database-url", database, "--processes", "2")
    processes = [psutil.Process(service.process.pid), *children(service)]
    for process in processes:
        process.suspend()
    with connected(service.address, 200) as clients:
        for client in clients:
            client.send(QUERY)
        service.process.terminate()
        for process in processes:
            process.resume()
        assert {client.reply()[0].text for client in clients} == {"no such order: 1"}
    status, errors = service.end()
    assert status == 0, errors


def test_a_second_signal_ends_all_processes_at_once(
    database: str, start_service: StartService, block: Block, connection: Session
) -> None:
    service = start_service("--database-url", database, "--processes", "2")
    blocker = block()
    with connected(service.address, 2) as clients:
        for client in clients:
            client.send(CREATE)
        wait_until(lambda: len(waiting_workers(connection)) == 2, "both have a request in the database")
        processes = children(service)
        service.process.terminate()
        wait_until(lambda: refuses(service.address), "it has taken the first signal")
        service.process.terminate()
        status, errors = service.end()
        assert all(client.is_closed() for client in clients)
    assert status == 1
    assert errors.splitlines()[-1] == "pgbourse: ended at once by SIGTERM"
    assert not any(process.is_running() for process in processes)
    blocker.rollback()


def test_all_children_read_the_certificates_again(
    database: str, start_service: StartService, tmp_path: Path
) -> None:
    authority = Authority(tmp_path, "authority")
    served = tmp_path / "served.pem"
    before, after = (authority.issue(name, server_only=True).read_text() for name in ("before", "after"))
    served.write_text(before)
    service = start_service("--database-url", database, "--processes", "2", "--tls-cert", str(served))

    def shown() -> list[bool]:
        with contextlib.ExitStack() as stack:  # two at once are in two processes
            raw = [stack.enter_context(socket.create_connection(service.address, 60)) for _ in range(2)]
            context = authority.trust()
            clients = [context.wrap_socket(one, server_hostname="127.0.0.1") for one in raw]
            with clients[0], clients[1]:
                found = [ssl.DER_cert_to_PEM_cert(one.getpeercert(True) or b"") for one in clients]
        return [certificate in after for certificate in found]

    with TlsClient(service.address, authority.trust()) as stays:
        assert shown() == [False, False]
        served.write_text(after)
        service.process.send_signal(signal.SIGHUP)
        wait_until(lambda: shown() == [True, True], "clients see the new one")
        assert stays.ask(CREATE)[0].tag == "created"
    service.process.terminate()
    status, errors = service.end()
    assert status == 0
    assert errors.count("the certificates have been read again") == 2


def test_no_child_shows_a_password(
    database: str, start_service: StartService, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = start_service("--database-url", f"{database} password=a_secret", "--processes", "2")
    for child in children(service):
        assert "a_secret" not in " ".join(child.cmdline())
        assert "a_secret" not in str(child.environ())
        assert not [name for name in child.environ() if name.startswith("PGBOURSE_")]


def test_a_log_line_tells_which_process_it_is_from(database: str, start_service: StartService) -> None:
    service = start_service("--database-url", database, "--processes", "2")
    service.process.terminate()
    lines = service.end()[1].splitlines()
    assert [re.findall(r"\[(\d)\]: stopping: ", line) for line in lines].count(["1"]) == 1
    assert [re.findall(r"\[(\d)\]: stopping: ", line) for line in lines].count(["2"]) == 1
    assert "INFO pgbourse.service: stopped: " in lines[-1]


def test_the_limits_on_connections_are_for_all_together(start_family: StartFamily) -> None:
    family = start_family(max_connections_per_address=3, max_connections=4)
    with connected(family.address, 3) as clients:
        assert [client.ask(CREATE)[0].tag for client in clients] == ["created", "error", "error"]
        with WireClient(family.address) as refused:
            assert refused.reply()[0].text == "too many connections from 127.0.0.1: at most 3 may be open"
            assert refused.is_closed()
        elsewhere = socket.create_connection(family.address, 60, ("127.0.0.2", 0))
        waiting = socket.create_connection(family.address, 60, ("127.0.0.3", 0))
        with elsewhere, waiting:
            elsewhere.sendall(CREATE)
            assert b"exists already" in elsewhere.recv(65536)
            waiting.sendall(CREATE)
            waiting.settimeout(0.3)
            with pytest.raises(TimeoutError):
                waiting.recv(65536)
            clients[0].socket.close()
            waiting.settimeout(60)
            assert b"exists already" in waiting.recv(65536)
    assert family.status().traffic.accepted == 5


def test_everybody_who_leaves_is_forgotten(start_family: StartFamily) -> None:
    allow_open_files(3000)
    family = start_family()
    with connected(family.address, 1200):
        wait_until(lambda: family.status().traffic.connections == 1200, "all are there")
        assert family.status().traffic.addresses == 1
    wait_until(lambda: family.status().traffic.addresses == 0, "all are forgotten")
    assert family.status().traffic.connections == 0
    assert family.status().traffic.accepted == 1200


def test_clients_that_leave_within_the_handshake_are_forgotten_too(
    start_family: StartFamily, tmp_path: Path
) -> None:
    family = start_family(tls_cert=Authority(tmp_path, "authority").issue("exchange", server_only=True))
    with connected(family.address, 20):
        wait_until(lambda: family.status().traffic.connections == 20, "all are there")
    wait_until(lambda: family.status().traffic.addresses == 0, "all are forgotten")


def test_addresses_of_version_6_are_dealt_too(start_family: StartFamily) -> None:
    try:
        family = start_family("::1")
    except pgbourse.serve.listener.ListenError:
        pytest.skip("there is no IPv6 here")
    with socket.create_connection(family.address, 60) as client:
        client.sendall(CREATE)
        assert b"created" in client.recv(65536)


def test_a_child_that_hangs_holds_up_no_question_and_no_other_client(start_family: StartFamily) -> None:
    family = start_family()
    with connected(family.address, 2) as clients:
        for client in clients:
            client.ask(CREATE)
        assert family.status().traffic.connections == 2
        hanging = psutil.Process(family.pids()["1"])
        held = clients_of(hanging, family.address[1])
        (other,) = [client for client in clients if client.socket.getsockname()[1] not in held]
        hanging.suspend()
        assert family.status().traffic.connections == 2  # as it was
        assert other.ask(QUERY)[0].text == "no such order: 1"
        # How long it has been stuck, which /healthz reports when it is long.
        wait_until(lambda: time.monotonic() - family.status().turned_at > 0.5, "it is seen to be stuck")
        hanging.resume()
    family.stop()
    assert family.join()


def test_a_child_that_a_person_stops_drains_and_is_started_again(
    start_family: StartFamily, caplog: pytest.LogCaptureFixture
) -> None:
    family = start_family()
    stopped = psutil.Process(family.pids()["2"])
    stopped.terminate()
    wait_until(lambda: family.status().restarts == 1 and family.status().processes == 2, "it serves again")
    assert f"process 2 (pid {stopped.pid}) has ended with status 0" in caplog.text
    family.stop()
    assert family.join()


def test_a_child_that_does_not_start_ends_all(
    start_family: StartFamily, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pgbourse.serve.family, "__version__", "0.0.1")
    with pytest.raises(ChildError, match=r"process 1 .* does not start: .* has ended with status 1"):
        start_family()
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.raises(ChildError, match="can't be started"):
        start_family()
