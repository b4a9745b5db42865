"""The drill of docs/high-availability.md: Patroni, etcd and three PostgreSQLs lose a part under load.

After each fault everybody must be served again, and what clients were told must be what the database holds.
Each test prints the gap that its fault made: pytest -rP shows it. They take some four minutes, so they run
where PGBOURSE_SOAK is set, as `make soak` does.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.faults.conftest import StartGateway
from tests.faults.highly_available import HighlyAvailable
from tests.faults.patroni import missing, recommended_setting
from tests.faults.scene import Scene
from tests.integration.client import wait_until
from tests.servers import temporary_folder

pytestmark = pytest.mark.xdist_group("patroni")  # its tests have one cluster in common

TTL = recommended_setting("ttl")  # seconds without a sign of life, after which Patroni gives a primary up


@pytest.fixture(scope="module")
def available() -> Iterator[HighlyAvailable]:
    if "PGBOURSE_SOAK" not in os.environ:
        pytest.skip("four minutes long: make soak runs it")
    if reason := missing():
        pytest.skip(reason)
    with temporary_folder() as folder, HighlyAvailable(folder) as available:
        yield available


@pytest.fixture
def scene(available: HighlyAvailable, start_gateway: StartGateway) -> Iterator[Scene]:
    """A gateway on a whole cluster, which must become whole again after the test, with nothing lost."""
    available.wait_until_whole()
    scene = Scene(available.connect, start_gateway("--database-url", available.conninfo()))
    yield scene
    sys.stdout.write(available.logs())  # pytest shows it if the test has failed
    available.wait_until_whole()
    scene.check_again()


@contextmanager
def timed(what: str) -> Iterator[None]:
    begin = time.monotonic()
    yield
    sys.stdout.write(f"{what}: {time.monotonic() - begin:.1f} s\n")


def until_another_is_primary(available: HighlyAvailable, fault: Callable[[], None]) -> float:
    """Do something to the primary; return when another one takes writes."""
    with timed("from the fault until a primary takes writes"):
        fault()
        wait_until(available.writable, "a primary takes writes")
    return time.monotonic()


def test_the_primarys_machine_is_lost(available: HighlyAvailable, scene: Scene) -> None:
    lost = available.primary()
    scene.play(lambda: until_another_is_primary(available, lost.lose))
    assert available.primary() is not lost
    lost.start()


def test_the_primarys_postgresql_dies(available: HighlyAvailable, scene: Scene) -> None:
    primary = available.primary()
    scene.play(lambda: until_another_is_primary(available, primary.kill_postgres))


def test_the_primary_freezes(available: HighlyAvailable, scene: Scene) -> None:
    frozen = available.primary()
    try:
        scene.play(lambda: until_another_is_primary(available, frozen.freeze))
        assert available.primary() is not frozen
    finally:
        frozen.thaw()


def test_a_member_of_etcd_freezes(available: HighlyAvailable, scene: Scene) -> None:
    """Nobody notices: the other two agree without it."""
    primary = available.primary()

    def strike() -> None:
        frozen_at = time.time()
        available.etcd.freeze(1)
        wait_until(lambda: primary.etcd_seen_at() > frozen_at + TTL, "Patroni reaches etcd long afterwards")

    try:
        scene.play(strike)
        assert available.primary() is primary
    finally:
        available.etcd.thaw()


def test_etcd_freezes(available: HighlyAvailable, scene: Scene) -> None:
    """With failsafe_mode the primary asks the other Patronis, and goes on."""
    primary = available.primary()

    def strike() -> None:
        available.etcd.freeze()
        wait_until(
            lambda: primary.failsafe_is_active() and time.time() > primary.etcd_seen_at() + TTL,
            "the primary goes on beyond its time without etcd",
        )

    try:
        scene.play(strike)
        assert available.primary() is primary
    finally:
        available.etcd.thaw()


def test_etcd_freezes_without_failsafe_mode(available: HighlyAvailable, scene: Scene) -> None:
    """The exchange stops until etcd is back, and nothing is lost."""

    def strike() -> float:
        with timed("from the loss of etcd until nobody takes writes"):
            available.etcd.freeze()
            wait_until(lambda: not available.writable(), "nobody takes writes")
        available.etcd.thaw()
        with timed("from the return of etcd until a primary takes writes"):
            wait_until(available.writable, "a primary takes writes")
        return time.monotonic()

    available.use_failsafe_mode(False)
    try:
        scene.play(strike)
    finally:
        available.etcd.thaw()
        available.use_failsafe_mode(True)
