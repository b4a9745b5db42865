"""Refs, features and lost connections: the Python client against servers that follow a script."""

import contextlib
import re
import socket
import threading
from collections.abc import Iterator, Sequence

import pytest

from pgbourse.client import (
    Cancel,
    Client,
    ClientError,
    ConnectionLost,
    NotSupported,
    Opened,
    Order,
    Query,
    Reduce,
    Refused,
    Replace,
    Result,
    Server,
    Status,
    transactions_document,
)
from pgbourse.wire.framing import Framer

KNOWS = b'<results><server version="9.9" features="codes ref tif replace"/></results>'
KNOWS_NOTHING = b"<results><error>unknown element</error></results>"

Script = Sequence[bytes]  # the replies on a connection, which is closed when there is none left


class Scripted:
    """A server whose nth connection follows the nth script; `documents` has what came on each."""

    def __init__(self, listener: socket.socket, scripts: Sequence[Script]) -> None:
        self.address: tuple[str, int] = listener.getsockname()
        self.documents: list[list[bytes]] = []
        self._listener = listener
        self._scripts = scripts

    def run(self) -> None:
        for script in self._scripts:
            with contextlib.suppress(OSError):  # the listener is closed when the test needs no more
                connection, _ = self._listener.accept()
                with connection:
                    self._converse(connection, list(script))

    def _converse(self, connection: socket.socket, replies: list[bytes]) -> None:
        framer, documents = Framer(1 << 20), list[bytes]()
        self.documents.append(documents)
        while data := connection.recv(65536):
            for frame in framer.feed(data):
                documents.append(frame.document)
                if not replies:
                    return
                connection.sendall(replies.pop(0) + b"\n")


@contextlib.contextmanager
def scripted(*scripts: Script) -> Iterator[Scripted]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Scripted(listener, scripts)
        thread = threading.Thread(target=server.run)
        thread.start()
        yield server
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
    thread.join()


def opened(order_id: int, ref: str = "", more: str = "") -> bytes:
    named = f' ref="{ref}"' if ref else ""
    return f'<results><opened sym="X" amount="1" limit="1"{named} id="{order_id}"{more}/></results>'.encode()


def ids(replies: Sequence[Sequence[Result]]) -> list[int]:
    return [result.order_id for results in replies for result in results if isinstance(result, Opened)]


def refs(documents: Sequence[bytes]) -> list[bytes]:
    return re.findall(rb' ref="([^"]*)"', b"".join(documents))


def test_orders_and_replaces_get_refs_of_their_own() -> None:
    with scripted([KNOWS, opened(1), opened(2)]) as server, Client(*server.address) as client:
        client.place_order("1", "X", 1, 1)
        client.send_transactions(
            "1", Order("X", 1, 1), Order("X", 1, 1, ref="mine"), Replace(1, amount=1, limit=1), Query(1)
        )
        client.receive_raw()
        question, *documents = server.documents[0]
    assert b"<server/>" in question
    found = refs(documents)
    assert len(set(found)) == 4
    assert found[2] == b"mine"
    assert all(re.fullmatch(rb"[A-Za-z0-9._:-]{1,64}", ref) for ref in found)


def test_two_clients_make_different_refs() -> None:
    script = [KNOWS, opened(1)]
    with scripted(script, script) as server:
        for _ in range(2):
            with Client(*server.address) as client:
                client.place_order("1", "X", 1, 1)
        (_, one), (_, other) = server.documents
    assert refs([one]) != refs([other])


def test_who_wants_no_refs_gets_none_and_no_question_is_asked() -> None:
    with scripted([opened(1)]) as server, Client(*server.address, refs=False) as client:
        client.place_order("1", "X", 1, 1)
        (document,) = server.documents[0]
    assert document == transactions_document("1", Order("X", 1, 1))


def test_an_old_server_gets_orders_without_refs() -> None:
    with scripted([KNOWS_NOTHING, opened(1)]) as server, Client(*server.address) as client:
        assert client.place_order("1", "X", 1, 1).ref is None
        assert client.server() == Server(None, frozenset())
        _, document = server.documents[0]
    assert refs([document]) == []


@pytest.mark.parametrize("answer", [b"<results/>", b"<results><surprise/></results>"])
def test_a_server_that_can_not_make_sense_of_the_question_knows_nothing(answer: bytes) -> None:
    with scripted([answer]) as server, Client(*server.address) as client:
        assert client.server() == Server(None, frozenset())


def test_what_a_server_would_ignore_is_not_sent() -> None:
    with scripted([KNOWS, opened(1)]) as server, Client(*server.address) as client:
        with pytest.raises(NotSupported, match=r"does not know post \(pgbourse 9\.9\): nothing was sent"):
            client.transact("1", Query(1), Order("X", 1, 1, post=True))
        client.place_order("1", "X", 1, 1, tif="IOC")  # which it knows
        assert len(server.documents[0]) == 2


def test_the_question_about_features_does_not_disturb_the_order_of_replies() -> None:
    with scripted([opened(1), opened(2), KNOWS, opened(3)]) as server, Client(*server.address) as client:
        client.send(b"<first/>")
        client.send(b"<second/>")
        client.send_transactions("1", Order("X", 1, 1))
        found = [result.order_id for _ in range(3) for result in client.receive() if type(result) is Opened]
    assert found == [1, 2, 3]


def test_what_has_no_answer_is_sent_again_and_nothing_else() -> None:
    again = opened(6, "a6", ' duplicate="true"')
    status = b'<results><status ref="a6" id="6"><open shares="1"/></status></results>'
    with (
        scripted([KNOWS, opened(5, "a5")], [KNOWS, again, status, opened(7)]) as server,
        Client(*server.address) as client,
    ):
        client.send_transactions("1", Order("X", 1, 1, ref="a5"))
        client.send_transactions("1", Order("X", 1, 1, ref="a6"))
        client.send_transactions("1", Query(ref="a6"))
        sent = client.unanswered
        assert [type(result) for result in client.receive()] == [Opened]
        with pytest.raises(ConnectionLost):
            client.receive()
        assert client.unanswered == sent[1:]
        (order,), (query,) = client.resend_all()
        assert isinstance(order, Opened)
        assert (order.order_id, order.duplicate) == (6, True)
        assert isinstance(query, Status)
        assert server.documents[1][1:] == list(sent[1:])
        assert client.unanswered == ()
        assert client.place_order("1", "X", 1, 1).order_id == 7  # the client goes on


def test_replies_that_had_come_are_among_those_of_a_resend() -> None:
    with scripted([opened(5), KNOWS], [KNOWS, opened(6)]) as server, Client(*server.address) as client:
        client.send(transactions_document("1", Order("X", 1, 1, ref="a5")))
        client.send_transactions("1", Order("X", 1, 1, ref="a6"))  # asks for features, and so reads
        assert ids(client.resend_all()) == [5, 6]
        assert refs(server.documents[1]) == [b"a6"]


def test_a_single_request_is_found_by_a_resend_as_well() -> None:
    with scripted([KNOWS], [KNOWS, opened(5)]) as server, Client(*server.address) as client:
        with pytest.raises(ConnectionLost):
            client.place_order("1", "X", 1, 1)
        assert ids(client.resend_all()) == [5]
        assert server.documents[0][1] == server.documents[1][1]
        assert client.resend_all() == []


def test_a_resend_that_is_lost_as_well_can_be_repeated() -> None:
    with (
        scripted([KNOWS], [KNOWS, opened(5)], [KNOWS, opened(6)]) as server,
        Client(*server.address) as client,
    ):
        for ref in ("a5", "a6"):
            client.send_transactions("1", Order("X", 1, 1, ref=ref))
        with pytest.raises(ConnectionLost):
            client.receive()
        with pytest.raises(ConnectionLost):
            client.resend_all()
        assert ids(client.resend_all()) == [5, 6]
        assert refs(server.documents[2]) == [b"a6"]


def test_a_server_without_refs_is_not_sent_orders_again() -> None:
    with scripted([KNOWS], [KNOWS_NOTHING], [KNOWS, opened(5)]) as server, Client(*server.address) as client:
        with pytest.raises(ConnectionLost):
            client.place_order("1", "X", 1, 1)
        with pytest.raises(NotSupported, match="does not know ref"):
            client.resend_all()
        assert len(server.documents[1]) == 1
        assert len(client.resend_all()) == 1  # by now it does


def test_cancels_and_queries_are_sent_again_to_any_server() -> None:
    text = "order 5 has no open shares to cancel"
    refused = f'<results><error id="5" code="nothing_open">{text}</error></results>'.encode()
    with scripted([], [KNOWS_NOTHING, refused]) as server, Client(*server.address) as client:
        with pytest.raises(ConnectionLost):
            client.cancel_order("1", 5)
        ((result,),) = client.resend_all()
        assert result == Refused(text, {"id": "5"}, "nothing_open")
        assert server.documents[1][1] == transactions_document("1", Cancel(5))


def test_what_would_happen_twice_is_not_sent_again() -> None:
    document = transactions_document("1", Reduce(5, shares=1))
    with scripted([], [KNOWS]) as server, Client(*server.address) as client:
        client.send(document)
        with pytest.raises(ConnectionLost):
            client.receive()
        with pytest.raises(ClientError, match="can't be sent again: <reduce> by shares"):
            client.resend_all()
        assert client.unanswered == (document,)
        assert len(server.documents) == 1


def test_with_nothing_to_send_again_the_connection_alone_is_made_anew() -> None:
    with scripted([], [KNOWS, opened(5)]) as server, Client(*server.address) as client:
        assert client.resend_all() == []
        assert len(server.documents) <= 1
        client.close()
        assert client.resend_all() == []
        assert client.place_order("1", "X", 1, 1).order_id == 5
