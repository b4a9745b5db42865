"""Those who look at the page: one thread that reads for all of them, and sends to each at its own pace.

What is sent is always the newest state of something, never a change of it. So a viewer that is slow misses
what it had no time for, and nothing queues up for it.
"""

import contextlib
import logging
import selectors
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg

from pgbourse.errors import one_line
from pgbourse.serve.looks import Looks, Subject, View, encode, subjects
from pgbourse.serve.pulse import Pulse
from pgbourse.serve.sessions import DatabaseError

__all__ = ["Viewers"]

_log = logging.getLogger("pgbourse.page")

_PULSE_SECONDS = 1.0  # also how a viewer knows that we are there
_SLOW = 10.0  # seconds without taking a byte, after which a viewer is dropped
_SEND_BUFFER = 64 * 1024  # bytes in the kernel: what lies there can't be replaced by something newer
_VANISHED_MS = 15_000  # after which the kernel gives up a peer that acknowledges nothing
_JOIN_SECONDS = 5.0

PULSE: Subject = ("pulse", "", 0)


class _Viewer:
    """One stream. Only the thread of Viewers touches it, but for the socket's end."""

    def __init__(self, connection: socket.socket, view: View) -> None:
        self.connection = connection
        self.view = view
        self.subjects = [PULSE, *subjects(view)]
        self.told: dict[Subject, bytes] = {}  # the event of each subject that it was sent last
        self.unsent: memoryview = memoryview(b"")
        self.moved_at = time.monotonic()  # when it has last taken something, or had nothing to take


class Viewers:
    """Takes over the connections of viewers. While there are none, it does nothing at all."""

    def __init__(self, looks: Looks, pulse: Pulse, most: int) -> None:
        """Serve so many viewers at most, with what these two read."""
        self._looks = looks
        self._pulse = pulse
        self._most = most
        self._events: dict[Subject, bytes] = {}  # the pulse; all others are in looks
        self._pulse_due = 0.0
        self._failing = False
        self._selector = selectors.DefaultSelector()
        self._woken, self._waker = socket.socketpair()
        self._waker.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._stopping = threading.Event()
        # Guards the places, and the two lists below.
        self._lock = threading.Lock()
        self._places = 0  # that are taken
        self._arrived: list[_Viewer] = []
        self._viewers: list[_Viewer] = []
        self._thread = threading.Thread(target=self._run, name="pgbourse-page", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End all streams at once, and the thread."""
        self._stopping.set()
        with self._lock:
            viewers = [*self._viewers, *self._arrived]
        for viewer in viewers:
            with contextlib.suppress(OSError):
                viewer.connection.shutdown(socket.SHUT_RDWR)
        self._wake()
        self._thread.join(_JOIN_SECONDS)

    @property
    def count(self) -> int:
        """How many look. Any thread may ask."""
        return self._places

    def reserve(self) -> bool:
        """Take a place for a viewer, if there is one: `add` or `give_back` must follow."""
        with self._lock:
            if self._places >= self._most or self._stopping.is_set():
                return False
            self._places += 1
            return True

    def give_back(self) -> None:
        """Give back a place for which no viewer was added."""
        with self._lock:
            self._places -= 1

    def add(self, connection: socket.socket, view: View) -> None:
        """Take over a connection whose response has begun. Called by any thread."""
        connection.setblocking(False)
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if hasattr(socket, "TCP_USER_TIMEOUT"):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _VANISHED_MS)
        with self._lock:
            self._arrived.append(_Viewer(connection, view))
        self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # it is full, so there is something to wake up by
            self._waker.send(b"\0")

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._wait()
                self._welcome()
                if self._viewers:
                    self._read()
                    for viewer in self._viewers:
                        self._send(viewer)
                    self._drop_all(self._is_slow)
        finally:
            self._stopping.set()
            self._welcome()
            self._drop_all(lambda _: True)
            self._selector.close()
            self._woken.close()
            self._waker.close()

    def _wait(self) -> None:
        """Wait until something is due, or a socket is ready; hear who has gone."""
        due = min(self._looks.due, self._pulse_due) - time.monotonic() if self._viewers else None
        for key, events in self._selector.select(None if due is None else max(0.0, due)):
            viewer: _Viewer | None = key.data
            if viewer is None:
                self._woken.recv(4096)
            elif events & selectors.EVENT_READ and not _is_there(viewer.connection):
                self._drop(viewer)

    def _welcome(self) -> None:
        with self._lock:
            arrived, self._arrived = self._arrived, []
            self._viewers.extend(arrived)
        for viewer in arrived:
            self._selector.register(viewer.connection, selectors.EVENT_READ, viewer)
        if arrived:
            self._looks.forget({viewer.view for viewer in self._viewers})

    def _read(self) -> None:
        """Read what is due. While the database doesn't answer, the pulse says so."""
        try:
            if self._looks.read() and self._failing:
                self._failing = False
                _log.info("the page is up to date again")
        except (DatabaseError, psycopg.Error) as error:
            if not self._failing:
                _log.warning("the page can't be kept up to date: %s", one_line(error))
            self._failing = True
        if (now := time.monotonic()) >= self._pulse_due:
            beat: dict[str, Any] = self._pulse.beat()
            beat |= {"time": round(time.time(), 3), "fresh": not self._failing, "viewers": self._places}
            self._events[PULSE] = encode("pulse", beat)
            self._pulse_due = now + _PULSE_SECONDS

    def _send(self, viewer: _Viewer) -> None:
        """Send what it hasn't seen, as far as it takes it."""
        if not viewer.unsent:
            news: list[bytes] = []
            for subject in viewer.subjects:
                event = self._events.get(subject) or self._looks.events.get(subject)
                if event is not None and viewer.told.get(subject) != event:
                    viewer.told[subject] = event
                    news.append(event)
            viewer.unsent = memoryview(b"".join(news))
            viewer.moved_at = time.monotonic()
        if viewer.unsent:
            try:
                sent = viewer.connection.send(viewer.unsent)
            except BlockingIOError:
                sent = 0
            except OSError:
                sent, viewer.moved_at = 0, 0.0  # it is gone
            if sent:
                viewer.unsent = viewer.unsent[sent:]
                viewer.moved_at = time.monotonic()
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if viewer.unsent else 0)
        if self._selector.get_key(viewer.connection).events != wanted:
            self._selector.modify(viewer.connection, wanted, viewer)

    def _is_slow(self, viewer: _Viewer) -> bool:
        return bool(viewer.unsent) and time.monotonic() - viewer.moved_at > _SLOW

    def _drop_all(self, condition: Callable[[_Viewer], bool]) -> None:
        for viewer in [viewer for viewer in self._viewers if condition(viewer)]:
            self._drop(viewer)

    def _drop(self, viewer: _Viewer) -> None:
        self._selector.unregister(viewer.connection)
        viewer.connection.close()
        with self._lock:
            self._viewers.remove(viewer)
            self._places -= 1
        self._looks.forget({viewer.view for viewer in self._viewers})


def _is_there(connection: socket.socket) -> bool:
    """Read what a viewer sends, which is nothing that matters, and tell whether it is still there."""
    try:
        return bool(connection.recv(4096))
    except BlockingIOError:
        return True
    except OSError:
        return False
