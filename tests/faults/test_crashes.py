"""Whatever dies, and whenever: what was acknowledged is there, and nothing is half done."""

import contextlib
import statistics
import time
from collections.abc import Callable, Iterator

import psutil
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tests.faults.cluster import Cluster
from tests.faults.conftest import StartGateway
from tests.faults.proxy import Proxy
from tests.faults.scene import GatewayProcess, Scene, rounds
from tests.integration.client import wait_until

# Both stages of an order in one transaction, or in one each.
ways = pytest.mark.parametrize("lanes", ["0", "2"])

Strike = Callable[[], float | None]

# Everybody is served again within so many seconds of the database's return.
PROMISE = 1.0


@pytest.fixture
def proxy(cluster: Cluster) -> Iterator[Proxy]:
    with Proxy(cluster.socket) as proxy:
        yield proxy


class Faults:
    """The ways in which the things behind a scene may fail."""

    def __init__(self, cluster: Cluster, exchange: str, gateway: GatewayProcess, scene: Scene) -> None:
        self._cluster = cluster
        self._exchange = exchange
        self._gateway = gateway
        self._random = scene.random

    def kill_gateway(self) -> None:
        self._gateway.end()
        self._gateway.start()

    def kill_backend(self) -> float:
        """Kill one worker's backend; PostgreSQL then ends all others and recovers."""
        with contextlib.closing(self._cluster.connect()) as session:
            rows = session.execute(
                "select pid from pg_stat_activity "
                "where application_name like 'pgbourse worker%%' and datname = %s",
                [self._exchange],
            ).fetchall()
            psutil.Process(self._random.choice(rows)[0]).kill()
            wait_until(lambda: is_gone(session), "PostgreSQL ends the other sessions")
        return self._cluster.wait_until_ready()

    def kill_postgres(self) -> float:
        self._cluster.kill()
        self._cluster.start()
        return self._cluster.wait_until_ready()

    def cut(self, proxy: Proxy) -> float:
        """Cut the network: at once, in the midst of an answer, or after it has stalled."""
        how = self._random.choice(("at once", "in an answer", "after a stall", "no cut"))
        if how == "in an answer":
            proxy.cut_after(self._random.randint(1, 400))
            wait_until(lambda: proxy.is_cut, "an answer passes")
        elif how in ("after a stall", "no cut"):
            proxy.stall()
            time.sleep(self._random.random() * 0.1)
        if how != "no cut":
            proxy.cut()
        proxy.restore()
        return time.monotonic()


def is_gone(session: psycopg.Connection[tuple[object, ...]]) -> bool:
    try:
        session.execute("select")
        return False
    except psycopg.OperationalError:
        return True


@pytest.fixture
def open_scene(
    cluster: Cluster, exchange: str, start_gateway: StartGateway
) -> Callable[..., tuple[Scene, Faults]]:
    def open_scene(
        *options: str, mutant: str | None = None, proxy: Proxy | None = None, seed: int = 0
    ) -> tuple[Scene, Faults]:
        conninfo = cluster.dsn(exchange)
        if proxy is not None:
            conninfo = make_conninfo(conninfo, host="127.0.0.1", port=proxy.port)
        gateway = start_gateway("--database-url", conninfo, *options, mutant=mutant)
        scene = Scene(lambda: cluster.connect(exchange), gateway, seed=seed)
        return scene, Faults(cluster, exchange, gateway, scene)

    return open_scene


OpenScene = Callable[..., tuple[Scene, Faults]]


def assert_prompt(scene: Scene) -> None:
    """Fail if clients had to wait for long after the database's return."""
    times = sorted(scene.recoveries)
    told = f"served again after {statistics.median(times):.3f} s (median), {times[-1]:.3f} s (longest)"
    print(told)  # noqa: T201
    assert times[-1] <= PROMISE, told


@ways
def test_a_gateway_that_is_killed(open_scene: OpenScene, lanes: str) -> None:
    scene, faults = open_scene("--lanes", lanes)
    for _ in rounds(20):
        scene.play(faults.kill_gateway)
    scene.check_again()


@ways
def test_a_backend_that_is_killed(open_scene: OpenScene, lanes: str) -> None:
    scene, faults = open_scene("--lanes", lanes)
    for _ in rounds(25):
        scene.play(faults.kill_backend)
    scene.check_again()
    assert_prompt(scene)


@ways
def test_a_postgresql_that_is_killed(open_scene: OpenScene, lanes: str) -> None:
    scene, faults = open_scene("--lanes", lanes)
    for _ in rounds(25):
        scene.play(faults.kill_postgres)
    scene.check_again()
    assert_prompt(scene)


@ways
def test_a_network_that_is_cut(open_scene: OpenScene, proxy: Proxy, lanes: str) -> None:
    scene, faults = open_scene("--lanes", lanes, proxy=proxy)
    for _ in rounds(30):
        scene.play(lambda: faults.cut(proxy))
    scene.check_again()
    assert_prompt(scene)
