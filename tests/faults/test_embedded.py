"""The PostgreSQL that a gateway brings along dies, or the gateway that brought it."""

import signal
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import psycopg
import pytest

from pgbourse.database.embedded import EmbeddedPostgres
from tests.faults.conftest import StartGateway
from tests.faults.scene import GatewayProcess, Scene, rounds
from tests.faults.test_crashes import is_gone
from tests.integration.client import wait_until

Session = psycopg.Connection[tuple[object, ...]]


class Owned:
    """A gateway with a PostgreSQL of its own, and rounds of trade with it."""

    def __init__(self, gateway: GatewayProcess, data_dir: Path) -> None:
        self.gateway = gateway
        self._data_dir = data_dir
        self.scene = Scene(self.connect, gateway)

    def connect(self) -> Session:
        return psycopg.connect(EmbeddedPostgres(self._data_dir).dsn(), autocommit=True)

    def kill_postgres(self) -> float:
        """Kill PostgreSQL, which nobody but the gateway starts again."""
        with closing(self.connect()) as session:
            self._postmaster().kill()
            wait_until(lambda: is_gone(session), "its last process has ended")
        wait_until(self._accepts, "the gateway has started it again")
        return time.monotonic()

    def kill_gateway(self) -> None:
        """Kill the gateway; the PostgreSQL that is left running is ended by the next one."""
        postmaster = self._postmaster()
        self.gateway.end()
        self.gateway.start()
        assert not postmaster.is_running()

    def _postmaster(self) -> psutil.Process:
        assert self.gateway.process is not None
        (postmaster,) = psutil.Process(self.gateway.process.pid).children()
        return postmaster

    def _accepts(self) -> bool:
        try:
            self.connect().close()
            return True
        except psycopg.OperationalError:
            return False


@pytest.fixture
def owned(folder: Path, start_gateway: StartGateway, request: pytest.FixtureRequest) -> Iterator[Owned]:
    data_dir = folder / "server"
    gateway = start_gateway(
        "--data-dir", str(data_dir), "--drain-timeout", "1", mutant=getattr(request, "param", None)
    )
    yield Owned(gateway, data_dir)
    gateway.end(signal.SIGTERM)  # with its PostgreSQL


def test_the_gateway_starts_its_postgresql_again(owned: Owned) -> None:
    for _ in rounds(5):
        owned.scene.play(owned.kill_postgres)
    owned.scene.check_again()
    assert max(owned.scene.recoveries) <= 1.0


def test_the_next_gateway_takes_over_what_a_killed_one_left(owned: Owned) -> None:
    for _ in rounds(5):
        owned.scene.play(owned.kill_gateway)
    owned.scene.check_again()


@pytest.mark.parametrize("owned", ["leaves_its_own_server_dead"], indirect=True)
def test_a_postgresql_left_dead_is_found_out(owned: Owned, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.integration.client._GUARD", 5.0)
    monkeypatch.setattr("tests.faults.trader.GUARD", 6.0)
    with pytest.raises((AssertionError, TimeoutError)):
        owned.scene.play(owned.kill_postgres)
