"""A client's plain socket, called past Python's own methods."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from pgbourse.serve.plain import Buffer, PlainWire


@pytest.fixture
def sockets() -> Iterator[list[socket.socket]]:
    """Two pairs of sockets, the first of each pair non-blocking, as a server's are."""
    with ExitStack() as stack:
        ends = [stack.enter_context(end) for _ in range(2) for end in socket.socketpair()]
        for end in ends[::2]:
            end.setblocking(False)
        yield ends


def test_it_does_what_a_socket_does(sockets: list[socket.socket]) -> None:
    ours, theirs, *_ = sockets
    wire = PlainWire(ours, Buffer())
    with pytest.raises(BlockingIOError):
        wire.recv(10)
    theirs.sendall(b"a\0bc")
    assert (wire.recv(3), wire.recv(10)) == (b"a\0b", b"c")
    assert (wire.send(b"a\0"), wire.send(bytearray(b"b"))) == (2, 1)
    assert theirs.recv(10) == b"a\0b"
    theirs.close()
    assert wire.recv(10) == b""
    with pytest.raises(BrokenPipeError):
        wire.send(b"a")
    wire.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        wire.recv(10)


def test_what_two_threads_receive_stays_apart(sockets: list[socket.socket]) -> None:
    """Between the call and the copy another server's thread may run."""
    ours, theirs, others, whose = sockets
    buffer = Buffer()
    wire, other = PlainWire(ours, buffer), PlainWire(others, Buffer())
    theirs.sendall(b"first")
    whose.sendall(b"second")
    view = buffer.view

    class Between:
        """Lets the other one receive before a part of the buffer is copied."""

        def __getitem__(self, part: slice) -> memoryview:
            assert other.recv(10) == b"second"
            return view[part]

    buffer.view = Between()  # type: ignore[assignment]
    assert wire.recv(10) == b"first"
