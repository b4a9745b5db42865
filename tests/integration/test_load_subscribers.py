"""`pgbourse load --subscribers`: who follows what the load trades, and a server that misleads them."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pgbourse.loadtest.connections import LoadError, Target
from pgbourse.loadtest.load import LoadSettings, load
from pgbourse.loadtest.templates import KINDS
from pgbourse.loadtest.workload import Workload
from pgbourse.serve import feedfollowers
from pgbourse.wire.feed import Event, format_updates
from tests.integration.conftest import Gateway, Session, StartGateway
from tests.integration.tls import Authority

# More that rests than takes, and everything else that changes a book.
MIX = tuple((kind, 6.0 if kind == "order" else 1.0) for kind in KINDS)
Output = pytest.CaptureFixture[str]


@pytest.fixture
def settings(tmp_path: Path) -> LoadSettings:
    """Three who follow two symbols, in which 4 clients trade. Each test names its target."""
    return LoadSettings(
        target=Target("127.0.0.1", 1),
        workload=Workload(accounts=8, symbols=2, orders=3, refs="r", mix=MIX),
        clients=4,
        seconds=None,
        documents=100,
        rate=None,
        check=True,
        json_file=tmp_path / "load.json",
        progress=False,
        subscribers=3,
    )


def figures(settings: LoadSettings) -> Any:
    assert settings.json_file is not None
    return json.loads(settings.json_file.read_text())["subscribers"]


def count(connection: Session) -> int:
    (found,) = connection.execute("select count(*) from exchange.updates").fetchone() or (0,)
    return int(found)


def test_each_gets_every_update_and_the_books_are_those_that_are_shown(
    gateway: Gateway, connection: Session, settings: LoadSettings, capsys: Output
) -> None:
    assert load(replace(settings, target=Target(*gateway.address))) == 0
    told = capsys.readouterr().out
    assert "3 subscribers: each got " in told
    assert "check: 2 books that a feed told are those that the server shows\n" in told
    found = figures(settings)
    assert (found["snapshots_instead"], found["problem"]) == (0, None)
    assert [len(found[what]) for what in ("updates_per_second", "bytes_per_second")] == [3, 3]
    assert min(found["updates_per_second"]) > 0
    # What is told is what came until the end of the load, and nobody can have been told more than there is.
    seconds = json.loads((settings.json_file or Path()).read_text())["result"]["seconds"]
    assert max(found["updates_per_second"]) * seconds <= 1.01 * count(connection)


def test_with_tls(
    start_gateway: StartGateway, settings: LoadSettings, tmp_path: Path, capsys: Output
) -> None:
    authority = Authority(tmp_path, "authority")
    gateway = start_gateway(tls_cert=authority.issue("the exchange", server_only=True))
    target = Target("localhost", gateway.address[1], tls=authority.trust())
    assert load(replace(settings, target=target)) == 0
    assert "2 books that a feed told are those" in capsys.readouterr().out


def lose(kind: str) -> Callable[[str, Any], tuple[bytes, list[int]]]:
    """Format updates without the events of a kind, where others are left."""

    def without(sym: str, events: list[Event]) -> tuple[bytes, list[int]]:
        kept = [event for event in events if event.kind != kind]
        return format_updates(
            sym, kept if {one.seq for one in kept} == {one.seq for one in events} else events
        )

    return without


def test_a_feed_that_misleads_is_found_out(
    gateway: Gateway, settings: LoadSettings, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feedfollowers, "format_updates", lose("remove"))
    assert load(replace(settings, target=Target(*gateway.address))) == 1
    assert "that the feed tells is not the one that is shown" in capsys.readouterr().out


def test_a_feed_that_ends_is_told(
    start_gateway: StartGateway, settings: LoadSettings, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(sym: str, events: list[Event]) -> tuple[bytes, list[int]]:
        raise RuntimeError("a bug")

    gateway = start_gateway()
    monkeypatch.setattr(feedfollowers, "format_updates", break_down)
    assert load(replace(settings, target=Target(*gateway.address), check=False)) == 1
    assert "subscribers: the server has closed a feed\n" in capsys.readouterr().out
    assert figures(settings)["problem"] == "the server has closed a feed"


def test_a_server_without_room_for_them_is_told(start_gateway: StartGateway, settings: LoadSettings) -> None:
    gateway = start_gateway(max_connections_per_address=2)
    with pytest.raises(LoadError, match="subscribers: the server has closed a feed"):
        load(replace(settings, target=Target(*gateway.address)))
