"""Clients that lost their connection connect again soon, and ever more seldom while the server is away."""

import pytest

from pgbourse.loadtest.connections import LoadClient
from pgbourse.loadtest.lost import LostClients


def served() -> LoadClient:
    client = LoadClient()
    client.answered = 1
    return client


def test_clients_that_were_never_connected_may_connect_at_once() -> None:
    clients = [LoadClient(), LoadClient()]
    lost = LostClients(clients, 100.0)
    for client in clients:
        assert lost.due(100.0) is client
        lost.found()
    assert lost.due(100.0) is None
    assert lost.seconds_without(200.0) == 0


def test_a_client_waits_for_a_moment_and_the_others_with_it() -> None:
    lost = LostClients()
    first, second = served(), served()
    lost.add(first, 10.0)
    lost.add(second, 10.01)
    assert lost.due(10.02) is None
    assert 0 < lost.seconds_until_due(10.02) <= 0.05
    assert lost.due(10.1) is first
    lost.found()
    assert lost.due(10.1) is second
    assert lost.seconds_without(11.01) == 1


def test_the_pauses_double_up_to_a_second() -> None:
    lost = LostClients([served()], 0.0)
    now, pauses = 0.0, []
    for _ in range(8):
        lost.back_off(now)
        pauses.append(lost.seconds_until_due(now))
        now += pauses[-1]
    assert pauses == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0])
    assert lost.seconds_without(now) == now


def test_a_server_that_closes_before_it_answers_is_as_one_that_is_away() -> None:
    lost = LostClients()
    now = 0.0
    for _ in range(8):
        lost.add(LoadClient(), now)
        now += lost.seconds_until_due(now)
        assert lost.due(now) is not None
        lost.found()
    lost.add(LoadClient(), now)
    assert lost.seconds_until_due(now) == pytest.approx(1.0)
    now += 1.0
    lost.found()
    lost.add(served(), now)  # it is itself again
    assert lost.seconds_until_due(now) == pytest.approx(0.05)
