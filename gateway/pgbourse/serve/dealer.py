"""The thread of a parent that accepts all connections and deals each to the child that has the fewest.

So children share one port evenly, however few the clients are, on every system. The kernel's queue of new
connections stays while a child is restarted, and the limits hold for all children together.
"""

import contextlib
import errno
import logging
import selectors
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Callable

from pgbourse.serve.dealt import READY, RECORD_BYTES, pad, unpad
from pgbourse.serve.listener import BACKLOG, Seldom, is_shortage
from pgbourse.serve.signals import join_with_signals
from pgbourse.serve.traffic import refusal
from pgbourse.settings import ServeSettings

__all__ = ["Dealer", "Door"]

_log = logging.getLogger("pgbourse.server")

_ACCEPTS = 32  # connections accepted in a row, before what children say is heard
_TICK = 0.5  # seconds between two attempts to accept after a shortage
_HEAR_BYTES = 1024 * RECORD_BYTES


class Door:
    """The parent's end of the channel to one child. Only the dealer's thread uses it, but for `clients`."""

    def __init__(self, channel: socket.socket, on_ready: Callable[[], None]) -> None:
        self.channel = channel
        self.channel.setblocking(False)
        self.on_ready = on_ready
        self.is_ready = False
        self.clients: Counter[str] = Counter()  # that the child has, by address
        self.open = 0  # how many they are
        self.last_dealt = 0  # in the order of all that were dealt
        self.heard = bytearray()  # part of a record


class Dealer:
    """Accepts and deals connections in a thread of its own, once told to; `stop` ends that."""

    def __init__(self, listener: socket.socket, settings: ServeSettings) -> None:
        """Take over the listening socket."""
        self._listener = listener
        self._settings = settings
        self._selector = selectors.DefaultSelector()
        self._doors: set[Door] = set()
        self._from_address: Counter[str] = Counter()  # open connections
        self._open = 0
        self.accepted = 0
        self.turned_at = time.monotonic()
        self._held: tuple[socket.socket, str] | None = None  # accepted, and no child takes it now
        self._accepting = False
        self._shortage, self._crowd = Seldom(), Seldom()
        self._rests_until = 0.0  # when to try to accept again
        # What other threads ask for. Appending is atomic; a byte in the socket pair wakes this thread.
        self._asked: deque[Callable[[], None]] = deque()
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)
        self._may_accept = False
        self._stopping = False
        self._failed = False
        self._thread = threading.Thread(target=self._run, name="pgbourse-dealer", daemon=True)

    def start(self) -> None:
        """Start to listen to children; connections are accepted once `open` is called."""
        self._selector.register(self._wake_reader, selectors.EVENT_READ, self._on_wake)
        self._thread.start()

    def add(self, door: Door) -> None:
        """Deal to this child too, from when it is ready until its channel ends."""
        self._ask(lambda: self._admit(door))

    def open(self) -> None:
        """Accept connections from now on."""
        self._ask(self._begin)

    def stop(self) -> None:
        """Deal what the kernel has accepted, and end. May be called from a signal handler."""
        self._stopping = True
        self._wake()

    def join(self) -> bool:
        """Wait for the end; False if it was an unforeseen one."""
        join_with_signals(self._thread)
        return not self._failed

    def close(self) -> None:
        """Close everything, once the thread has ended."""
        while self._asked:  # since then: a child that has just been started has its door there
            self._asked.popleft()()
        for door in self._doors:
            door.channel.close()
        self._listener.close()
        self._selector.close()
        self._wake_reader.close()
        self._wake_writer.close()

    def addresses(self) -> int:
        """Return how many addresses have open connections."""
        return len(self._from_address)

    # Everything below runs in the dealer's thread, except _ask and _wake.

    def _ask(self, what: Callable[[], None]) -> None:
        self._asked.append(what)
        self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # full: it will wake anyway; closed: it has ended
            self._wake_writer.send(b"\0")

    def _on_wake(self) -> None:
        self._wake_reader.recv(4096)
        while self._asked:
            self._asked.popleft()()

    def _run(self) -> None:
        try:
            while not self._stopping:
                self._turn(_TICK)
            self._finish()
        except Exception:  # noqa: BLE001 - a bug of ours: log it, and end all processes
            _log.exception("the server ends because of an unforeseen error")
            self._failed = True
        finally:
            self._listener.close()
            if self._held is not None:
                self._held[0].close()

    def _turn(self, seconds: float) -> None:
        events = self._selector.select(seconds)
        self.turned_at = time.monotonic()
        for key, _ in events:
            key.data()
        self._resume_accepting()

    def _finish(self) -> None:
        """Take the connections that the kernel has accepted and deal them; no more come after them."""
        self._turn(0)
        for _ in range(BACKLOG // _ACCEPTS):
            if not self._may_accept or self._held is not None or not self._accept():
                break

    def _begin(self) -> None:
        self._may_accept = True

    def _admit(self, door: Door) -> None:
        self._doors.add(door)
        self._selector.register(door.channel, selectors.EVENT_READ, lambda: self._hear(door))

    def _hear(self, door: Door) -> None:
        """Take what a child says, or the end of its channel."""
        try:
            data = door.channel.recv(_HEAR_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._remove(door)
            return
        door.heard += data
        while len(door.heard) >= RECORD_BYTES:
            told = unpad(door.heard[:RECORD_BYTES])
            del door.heard[:RECORD_BYTES]
            if told == READY:
                door.is_ready = True
                door.on_ready()
            else:
                door.clients[told] -= 1
                door.open -= 1
                self._forget(told, 1)

    def _remove(self, door: Door) -> None:
        """Close the channel to a child, which has ended or takes no more clients."""
        if door not in self._doors:
            return
        self._doors.remove(door)
        self._selector.unregister(door.channel)
        door.channel.close()
        for address, count in door.clients.items():
            self._forget(address, count)

    def _forget(self, address: str, count: int) -> None:
        self._open -= count
        self._from_address[address] -= count
        if not self._from_address[address]:
            del self._from_address[address]

    def _accept(self) -> bool:
        """Accept and deal some connections. True if more may wait."""
        limit = self._settings.max_connections
        for _ in range(_ACCEPTS):
            if self._open >= limit:
                if self._crowd.is_due():
                    _log.warning("all %d connections are taken: more must wait", limit)
                self._pause_accepting()
                return False
            try:
                client, (address, *_) = self._listener.accept()
            except BlockingIOError:
                return False
            except OSError as error:
                if is_shortage(error):
                    if self._shortage.is_due():
                        _log.warning("no connections are accepted for a moment: %s", error.strerror)
                    self._pause_accepting()
                    return False
                continue  # this client left before it was accepted
            if not self._deal(client, address):
                self._held = client, address
                self._pause_accepting()
                return False
        return True

    def _deal(self, client: socket.socket, address: str) -> bool:
        """Give a connection to the child with the fewest, or refuse it; False if no child takes it now."""
        most = self._settings.max_connections_per_address
        if most and self._from_address[address] >= most:
            if self._settings.tls_cert is None:  # over TLS nothing can be said before the handshake
                client.setblocking(False)
                with contextlib.suppress(OSError):
                    client.send(refusal(address, self._settings))
            client.close()
            return True
        ready = [door for door in self._doors if door.is_ready]
        for door in sorted(ready, key=lambda one: (one.open, one.last_dealt)):
            try:
                socket.send_fds(door.channel, [pad(address)], [client.fileno()])
            except BlockingIOError:
                continue  # it has not taken the last ones yet
            except OSError as error:
                if error.errno != errno.ETOOMANYREFS:  # too many are on their way
                    self._remove(door)
                continue
            client.close()
            self.accepted += 1
            door.last_dealt = self.accepted
            door.clients[address] += 1
            door.open += 1
            self._from_address[address] += 1
            self._open += 1
            return True
        return False

    def _pause_accepting(self) -> None:
        """Leave new connections in the kernel's queue for a moment."""
        self._rests_until = self.turned_at + _TICK
        if self._accepting:
            self._selector.unregister(self._listener)
            self._accepting = False

    def _resume_accepting(self) -> None:
        if self._accepting or not self._may_accept or self.turned_at < self._rests_until:
            return
        if self._held is not None:
            held, self._held = self._held, None
            if not self._deal(*held):
                self._held = held
                self._pause_accepting()
                return
        if self._open < self._settings.max_connections and any(door.is_ready for door in self._doors):
            self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
            self._accepting = True
