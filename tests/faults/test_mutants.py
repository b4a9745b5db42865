"""The crash tests fail on gateways that break a promise: otherwise they would prove nothing.

Each mutant gets the fault that its promise is about, until the comparison finds it out. How often it takes is
a matter of luck; that it takes more than this is as good as impossible.
"""

from collections.abc import Callable

import pytest

from tests.faults.cluster import Cluster
from tests.faults.proxy import Proxy
from tests.faults.scene import Scene
from tests.faults.test_crashes import OpenScene, Strike, assert_prompt, open_scene, proxy, ways

__all__ = ["open_scene", "proxy"]  # fixtures

ATTEMPTS = 20

# How the loss of what was acknowledged shows: afterwards, or to the client whose order it was.
LOST = "acknowledged and not there|reported|no such order"


def play_until_found_out(scene: Scene, strike: Strike, check: Callable[[Scene], None] | None = None) -> None:
    for _ in range(ATTEMPTS):
        scene.play(strike)
        if check is not None:
            check(scene)


def test_a_reply_before_the_commit_is_found_out(open_scene: OpenScene) -> None:
    scene, faults = open_scene(mutant="replies_before_the_commit")
    with pytest.raises(AssertionError, match=LOST):
        play_until_found_out(scene, faults.kill_backend)


@pytest.mark.parametrize("mutant", ["commits_without_a_flush", "has_a_barrier_of_nothing"])
@ways
def test_a_commit_without_a_flush_is_found_out(
    open_scene: OpenScene, cluster: Cluster, mutant: str, lanes: str
) -> None:
    with cluster.connect() as session:
        session.execute("alter system set wal_writer_delay = '10s'")
        session.execute("select pg_reload_conf()")
    scene, faults = open_scene("--lanes", lanes, mutant=mutant)
    with pytest.raises(AssertionError, match=LOST):
        play_until_found_out(scene, faults.kill_postgres)


def test_sending_again_is_found_out(open_scene: OpenScene, proxy: Proxy) -> None:
    scene, faults = open_scene(mutant="sends_again_what_may_have_committed", proxy=proxy)
    with pytest.raises(AssertionError, match="carried out 2 times"):
        play_until_found_out(scene, lambda: faults.cut(proxy))


def test_a_guess_is_found_out(open_scene: OpenScene, proxy: Proxy) -> None:
    scene, faults = open_scene(mutant="answers_what_it_cannot_know", proxy=proxy)
    with pytest.raises(AssertionError, match="refused and there all the same"):
        play_until_found_out(scene, lambda: faults.cut(proxy))


def test_a_gateway_that_never_connects_again_is_found_out(
    open_scene: OpenScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.integration.client._GUARD", 3.0)
    monkeypatch.setattr("tests.faults.trader.GUARD", 5.0)
    scene, faults = open_scene(mutant="never_connects_again")
    with pytest.raises((AssertionError, TimeoutError)):
        scene.play(faults.kill_backend)


def test_a_slow_return_is_found_out(open_scene: OpenScene) -> None:
    scene, faults = open_scene(mutant="is_slow_to_connect_again")
    # Now and then the database comes back just when the gateway looks.
    with pytest.raises(AssertionError, match="served again after"):
        play_until_found_out(scene, faults.kill_postgres, assert_prompt)
