"""The feed's client, with servers that go away, fall silent, or say what makes no sense."""

import collections
import threading
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from pgbourse.client import (
    ClientError,
    ConnectionLost,
    Feed,
    FeedError,
    Heartbeat,
    NotSupported,
    Remove,
    ReplyError,
    Resumed,
    Snapshot,
    TimedOut,
    Update,
)
from tests.integration.scripted import Peer, scripted_server

AT = datetime.fromtimestamp(1795404363, UTC)
EMPTY = '<snapshot sym="A" seq="0"/>'


def removal(seq: int, sym: str = "A") -> str:
    """An update, as a server writes it."""
    return (
        f'<update sym="{sym}" seq="{seq}" time="1795404363.000000"><remove id="1" shares="{seq}"/></update>'
    )


def removed(seq: int, sym: str = "A") -> Update:
    """The same update, as a client is told of it."""
    return Update(sym, seq, AT, (Remove(1, Decimal(seq)),))


def until_closed(peer: Peer) -> None:
    assert peer.hear() == ""


def test_symbols_are_followed() -> None:
    def feed_both(peer: Peer) -> None:
        assert [peer.hear(), peer.hear()] == ['<subscribe sym="A"/>', '<subscribe sym="B"/>']
        peer.say(EMPTY, removal(1), '<snapshot sym="B" seq="8"/>')
        peer.say(
            '<heartbeat time="1795404363"/>', removal(9, "B"), '<error sym="C">no such symbol: C</error>'
        )
        until_closed(peer)

    with scripted_server(feed_both) as (host, port), Feed(host, port) as feed:
        feed.subscribe("A", "B")
        assert [next(feed) for _ in range(6)] == [
            Snapshot("A", 0, ()),
            removed(1),
            Snapshot("B", 8, ()),
            Heartbeat(AT),
            removed(9, "B"),
            FeedError("no such symbol: C", "C"),
        ]


def test_a_document_may_arrive_in_pieces() -> None:
    def piecemeal(peer: Peer) -> None:
        peer.hear()
        pieces = (EMPTY + "\n" + removal(1) + "\n").encode()
        for place in range(len(pieces)):
            peer.socket.sendall(pieces[place : place + 1])
        until_closed(peer)

    with scripted_server(piecemeal) as (host, port), Feed(host, port) as feed:
        feed.subscribe("A")
        assert [next(feed), next(feed)] == [Snapshot("A", 0, ()), removed(1)]


def test_one_may_wait_for_some_time() -> None:
    said = threading.Event()

    def say_later(peer: Peer) -> None:
        peer.hear()
        assert said.wait(60)
        peer.say(EMPTY)
        until_closed(peer)

    with scripted_server(say_later) as (host, port), Feed(host, port) as feed:
        feed.subscribe("A")
        assert feed.receive(0) is None
        assert feed.receive(0.01) is None
        said.set()
        assert feed.receive(60) == Snapshot("A", 0, ())


def test_a_server_without_a_feed_is_told() -> None:
    def old(peer: Peer) -> None:
        peer.hear()
        peer.say('<results><server version="0.0.9" features="ref book"/></results>')

    with (
        scripted_server(features=old) as (host, port),
        pytest.raises(NotSupported, match=r"the server does not know subscribe \(pgbourse 0\.0\.9\)"),
    ):
        Feed(host, port)


def test_a_lost_connection_ends_a_feed() -> None:
    def leave(peer: Peer) -> None:
        peer.hear()
        peer.say(EMPTY)

    with scripted_server(leave) as (host, port), Feed(host, port) as feed:
        feed.subscribe("A")
        assert next(feed) == Snapshot("A", 0, ())
        with pytest.raises(ConnectionLost, match="the server closed the connection"):
            next(feed)
        with pytest.raises(ClientError, match="this feed has ended: the server closed the connection"):
            next(feed)
        with pytest.raises(ClientError, match="this feed has ended"):
            feed.subscribe("B")


def test_a_silent_server_is_lost() -> None:
    def say_nothing(peer: Peer) -> None:
        peer.hear()
        peer.say(EMPTY)
        until_closed(peer)

    with scripted_server(say_nothing) as (host, port), Feed(host, port, timeout=1.0) as feed:
        feed.subscribe("A")
        assert next(feed) == Snapshot("A", 0, ())
        with pytest.raises(TimedOut, match=r"the server said nothing for 1 seconds"):
            next(feed)


def test_a_closed_feed_says_so() -> None:
    with scripted_server(until_closed) as (host, port):
        with Feed(host, port) as feed:
            pass
        with pytest.raises(ClientError, match="this feed is closed"):
            next(feed)


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        (removal(1), "update 1 before any answer"),
        (EMPTY + "\n" + removal(2), "update 2 after 0"),
        ("<nonsense/>", "has <nonsense>"),
        ("HTTP/1.1 400 Bad Request", "not XML"),
    ],
)
def test_what_makes_no_sense_ends_a_feed_also_one_that_resumes(said: str, problem: str) -> None:
    def say(peer: Peer) -> None:
        peer.hear()
        peer.say(said)
        until_closed(peer)

    with scripted_server(say) as (host, port), Feed(host, port, resume=True) as feed:
        feed.subscribe("A")
        with pytest.raises(ReplyError, match=problem):
            collections.deque(feed)


def test_a_feed_resumes_each_symbol_after_its_last_update() -> None:
    def leave(peer: Peer) -> None:
        assert [peer.hear() for _ in "ABC"] == [f'<subscribe sym="{sym}" from="5"/>' for sym in "ABC"]
        peer.say('<resumed sym="A" seq="4"/>', removal(5), '<snapshot sym="B" seq="9"/>', removal(6))
        peer.socket.sendall(removal(7)[:-5].encode())  # the end comes amid a document

    asked = [f'<subscribe sym="{sym}" from="{start}"/>' for sym, start in (("A", 7), ("B", 10), ("C", 5))]

    def leave_again(peer: Peer) -> None:
        assert [peer.hear(), peer.hear(), peer.hear()] == asked

    def go_on(peer: Peer) -> None:
        assert [peer.hear(), peer.hear(), peer.hear()] == asked
        peer.say('<resumed sym="A" seq="6"/>', '<resumed sym="B" seq="9"/>', '<resumed sym="C" seq="4"/>')
        peer.say(removal(7), removal(10, "B"), removal(5, "C"))
        until_closed(peer)

    with scripted_server(leave, leave_again, go_on) as (host, port), Feed(host, port, resume=True) as feed:
        feed.subscribe("A", "B", "C", from_=5)
        assert [next(feed) for _ in range(10)] == [
            Resumed("A", 4),
            removed(5),
            Snapshot("B", 9, ()),
            removed(6),
            Resumed("A", 6),
            Resumed("B", 9),
            Resumed("C", 4),
            removed(7),
            removed(10, "B"),
            removed(5, "C"),
        ]


def test_a_server_that_resumes_elsewhere_is_found_out() -> None:
    def leave(peer: Peer) -> None:
        peer.hear()
        peer.say(EMPTY, removal(1))

    def leave_out(peer: Peer) -> None:
        peer.hear()
        peer.say('<resumed sym="A" seq="2"/>', removal(3))
        until_closed(peer)

    with scripted_server(leave, leave_out) as (host, port), Feed(host, port, resume=True) as feed:
        feed.subscribe("A")
        assert [next(feed), next(feed)] == [Snapshot("A", 0, ()), removed(1)]
        with pytest.raises(ReplyError, match="the server's feed of A goes on after update 2"):
            next(feed)


def test_a_feed_that_resumes_leaves_a_silent_server() -> None:
    def fall_silent(peer: Peer) -> None:
        peer.hear()
        peer.say(EMPTY)
        until_closed(peer)

    def go_on(peer: Peer) -> None:
        assert peer.hear() == '<subscribe sym="A" from="1"/>'
        peer.say('<resumed sym="A" seq="0"/>')
        until_closed(peer)

    with (
        scripted_server(fall_silent, go_on) as (host, port),
        Feed(host, port, timeout=1.0, resume=True) as feed,
    ):
        feed.subscribe("A")
        assert [next(feed), next(feed)] == [Snapshot("A", 0, ()), Resumed("A", 0)]


def test_a_server_that_has_no_room_is_tried_again() -> None:
    def refuse(peer: Peer) -> None:
        peer.hear()
        peer.say("<results><error>too many connections</error></results>")
        until_closed(peer)

    def feed_one(peer: Peer) -> None:
        assert peer.hear() == '<subscribe sym="A"/>'
        peer.say(EMPTY)
        until_closed(peer)

    with scripted_server(refuse, refuse, feed_one) as (host, port), Feed(host, port, resume=True) as feed:
        feed.subscribe("A")
        assert next(feed) == Snapshot("A", 0, ())


def test_a_server_that_does_not_come_back_is_given_up() -> None:
    def leave(peer: Peer) -> None:
        peer.hear()

    with scripted_server(leave) as (host, port):
        feed = Feed(host, port, resume=True, reconnect_seconds=0.2)
        feed.subscribe("A")
    with (
        feed,
        pytest.raises(ConnectionLost, match=f"did not come back: can't reach a server at 127.0.0.1:{port}"),
    ):
        next(feed)


def test_what_is_subscribed_to_while_there_is_no_connection_is_asked_for_later() -> None:
    def leave(peer: Peer) -> None:
        peer.hear()
        peer.say(EMPTY)

    def feed_both(peer: Peer) -> None:
        asked = ['<subscribe sym="A" from="1"/>', '<subscribe sym="B"/>']
        assert [peer.hear(), peer.hear()] == asked
        peer.say('<resumed sym="A" seq="0"/>', '<snapshot sym="B" seq="0"/>')
        until_closed(peer)

    with scripted_server(leave, feed_both) as (host, port), Feed(host, port, resume=True) as feed:
        feed.subscribe("A")
        assert next(feed) == Snapshot("A", 0, ())
        while feed.receive(0.001) is not None:  # it notices the loss here, or later
            pass
        feed.subscribe("B")
        assert {next(feed), next(feed)} == {Resumed("A", 0), Snapshot("B", 0, ())}


def test_who_does_not_read_holds_nothing() -> None:
    """What a client does not take stays with the server: nothing is read ahead."""
    stuck = threading.Event()

    def flood(peer: Peer) -> None:
        peer.hear()
        peer.say(EMPTY)
        peer.socket.settimeout(0.2)
        try:
            for seq in range(1, 1_000_000):
                peer.say(removal(seq))
        except TimeoutError:
            stuck.set()

    with scripted_server(flood) as (host, port), Feed(host, port) as feed:
        feed.subscribe("A")
        assert next(feed) == Snapshot("A", 0, ())
        assert stuck.wait(60)
        assert next(feed) == removed(1)
