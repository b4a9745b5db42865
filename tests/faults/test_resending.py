"""Clients that send everything again, by ref, whatever dies: it happens once, and they are told the same."""

import random
from collections.abc import Callable
from contextlib import ExitStack, closing

import psutil
import pytest
from lxml import etree

from tests.faults.cluster import Cluster
from tests.faults.conftest import StartGateway
from tests.faults.journal import Journal, disagreements
from tests.faults.resender import Resender
from tests.faults.scene import GatewayProcess, Scene, enter, integrity, rounds
from tests.faults.test_crashes import ways
from tests.faults.trader import Trader
from tests.integration.client import WireClient, wait_until
from tests.sql.mutants import REFS_MEAN_NOTHING, install

OpenScene = Callable[..., tuple[Scene, list[GatewayProcess], list[Resender]]]


@pytest.fixture
def open_scene(cluster: Cluster, exchange: str, start_gateway: StartGateway) -> OpenScene:
    """Two gateways, and clients that go to either of them."""

    def open_scene(lanes: str) -> tuple[Scene, list[GatewayProcess], list[Resender]]:
        gateways = [
            start_gateway("--database-url", cluster.dsn(exchange), "--lanes", lanes) for _ in range(2)
        ]
        crowd: list[Resender] = []

        def make(_: GatewayProcess, account: str, sym: str, seed: int) -> Trader:
            crowd.append(Resender([gateway.address for gateway in gateways], account, sym, seed))
            return crowd[-1]

        return Scene(lambda: cluster.connect(exchange), *gateways, make=make), gateways, crowd

    return open_scene


@ways
def test_gateways_that_are_killed(open_scene: OpenScene, lanes: str) -> None:
    scene, gateways, crowd = open_scene(lanes)

    def kill() -> None:
        gateway = scene.random.choice(gateways)
        gateway.end()
        gateway.start()

    for _ in rounds(40):
        scene.play(kill)
    scene.check_again()
    assert sum(resender.duplicates for resender in crowd) > len(crowd)


@ways
def test_a_postgresql_that_is_killed(
    cluster: Cluster, exchange: str, open_scene: OpenScene, lanes: str
) -> None:
    scene, _, crowd = open_scene(lanes)

    def kill() -> float:
        if scene.random.random() < 0.5:
            cluster.kill()
            cluster.start()
            return cluster.wait_until_ready()
        with closing(cluster.connect()) as session:
            rows = session.execute(
                "select pid from pg_stat_activity "
                "where application_name like 'pgbourse worker%%' and datname = %s",
                [exchange],
            ).fetchall()
            psutil.Process(scene.random.choice(rows)[0]).kill()
        return cluster.wait_until_ready()

    for _ in rounds(25):
        scene.play(kill)
    scene.check_again()
    assert sum(resender.duplicates for resender in crowd) > len(crowd)


def trade(
    cluster: Cluster, exchange: str, gateways: list[GatewayProcess], duplicates: int | None
) -> tuple[list[str], list[object]]:
    """Trade until so many orders were duplicates; return what disagrees, and what integrity checks find.

    Without a number, until many replies have come, whatever they say.
    """
    seeds, journal = random.Random(6), Journal()
    crowd: list[Resender] = []

    def make(_: GatewayProcess, account: str, sym: str, seed: int) -> Trader:
        crowd.append(Resender([gateway.address for gateway in gateways], account, sym, seed))
        return crowd[-1]

    with ExitStack() as stack:
        for number in range(4):
            trader = enter(gateways[0], "TWICE", f"7{number}", seeds, make)
            stack.callback(trader.stop)
            trader.start()
        wait_until(
            lambda: (
                sum(resender.replies for resender in crowd) >= 400
                if duplicates is None
                else sum(resender.duplicates for resender in crowd) >= duplicates
            ),
            "orders are sent twice",
        )
    for resender in crowd:
        journal.add(resender.journal)
    with cluster.connect(exchange) as session:
        return disagreements(session, "TWICE", journal), integrity(session)


@ways
def test_clients_that_lose_their_connections_to_two_gateways(
    cluster: Cluster, exchange: str, start_gateway: StartGateway, lanes: str
) -> None:
    gateways = [start_gateway("--database-url", cluster.dsn(exchange), "--lanes", lanes) for _ in range(2)]
    problems, findings = trade(cluster, exchange, gateways, 20 * len(rounds(100)))
    assert not problems, "\n".join(problems[:10])
    assert not findings, findings[:10]


def test_refs_that_mean_nothing_are_found_out(
    cluster: Cluster, exchange: str, start_gateway: StartGateway
) -> None:
    with cluster.connect(exchange) as session:
        install(session, REFS_MEAN_NOTHING)
    gateways = [start_gateway("--database-url", cluster.dsn(exchange), "--no-migrate")]
    problems, _ = trade(cluster, exchange, gateways, None)
    assert any("carried out 2 times" in problem for problem in problems), problems[:10]


@ways
def test_the_same_ref_on_two_gateways_at_once(
    cluster: Cluster, exchange: str, start_gateway: StartGateway, lanes: str
) -> None:
    gateways = [start_gateway("--database-url", cluster.dsn(exchange), "--lanes", lanes) for _ in range(2)]
    enter(gateways[0], "ONCE", "7", random.Random(1))
    with ExitStack() as stack:
        clients = [stack.enter_context(WireClient(gateway.address)) for gateway in gateways]
        for number in range(1, 1 + 20 * len(rounds(100))):
            order = f'<order sym="ONCE" amount="{number}" limit="1" ref="r{number}"/>'
            document = f'<transactions id="7">{order}</transactions>'.encode()
            for client in clients:
                client.send(document)
            replies = [client.reply()[0] for client in clients]
            told = sorted((reply.get("id"), reply.get("duplicate") or "") for reply in replies)
            assert told == [(told[0][0], ""), (told[0][0], "true")], [etree.tostring(one) for one in replies]
    with cluster.connect(exchange) as session:
        counts = session.execute("select count(*), count(distinct shares) from exchange.orders").fetchone()
        assert counts == (20 * len(rounds(100)),) * 2
        assert not integrity(session)
