"""The load itself: many connections, one thread, and as little work for each document as possible.

A reply's last bytes show that it is complete; replies are counted, not parsed. The loop is closed (a client
sends its next document when it has its reply) or, with a rate, open: documents are due at fixed times, and
latency is measured from when a document was due, whether or not a connection was free then.

If the target asks for it, a run carries on after a lost connection: the client reconnects, and the fate of
the document that it waited for stays unknown. If documents can be sent again without harm, because all their
orders have refs, they are, until they are answered.
"""

import errno
import select
import selectors
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from pgbourse.loadtest.connections import Connections, LoadClient, Target
from pgbourse.loadtest.lost import LostClients
from pgbourse.loadtest.measurement import Measurement
from pgbourse.loadtest.replies import ENDS, count_results, excerpt, is_complete, problem
from pgbourse.loadtest.workload import Template
from pgbourse.wire.framing import wrap_reply

__all__ = ["OnReply", "OnUnknown", "Run", "Source"]

Source = Iterator[tuple[bytes, Template]]  # documents and their templates
OnReply = Callable[[Template, bytes, bytes], None]  # a document's template, the document, its reply
OnUnknown = Callable[[Template, bytes], None]  # the same, without a reply

# What a server of ours answers in its last moments. What is sent after that gets no answer.
_STOPPING: Final = b"<error>the server is stopping"
_TICK: Final = 0.5  # seconds between two checks for stalled clients, and two updates of the progress
_READ_BYTES: Final = 32 * 1024  # for larger buffers malloc calls the kernel each time


class Run:
    """One run of load on a server. It connects when `go` is called; `stop` ends it early."""

    def __init__(
        self,
        target: Target,
        source: Source,
        *,
        clients: int,
        seconds: float | None = None,
        rate: float | None = None,
        on_reply: OnReply | None = None,
        on_unknown: OnUnknown | None = None,
        on_resend: OnUnknown | None = None,
        on_tick: Callable[[Measurement], None] | None = None,
        resends: bool = False,
    ) -> None:
        """Take documents from `source` until it is empty or `seconds` have passed, at `rate` a second.

        `on_reply` gets each document and its reply, `on_unknown` each one that was sent and never answered,
        and `on_tick`, twice a second, the figures so far. With `resends` a document that has no answer on one
        connection is sent on another, and `on_resend` gets it first.
        """
        self.measurement = Measurement()
        self._target = target
        self._source = source
        self._seconds = seconds
        self._interval = 1 / rate if rate else 0.0
        self._on_reply = on_reply
        self._on_unknown = on_unknown
        self._on_resend = on_resend
        self._on_tick = on_tick
        self._resends = resends
        self._connections = Connections(target)
        self._selector = self._connections.selector
        self._clients = [LoadClient() for _ in range(clients)]
        self._idle: deque[LoadClient] = deque()  # in an open loop they wait for a document to be due
        self._lost = LostClients()
        # What is sent next: not a byte of it was sent, or it is sent once more. And when it was due.
        self._again: deque[tuple[bytes, Template, float]] = deque()
        self._waiting = 0  # clients that wait for a reply
        self._sending = True
        self._due = 0.0  # when the next document is, in an open loop
        self._last = 0.0  # when the latest reply came

    def stop(self) -> None:
        """Send no more; `go` returns once everything sent has been answered."""
        self._sending = False

    def go(self) -> Measurement:
        """Carry out the run and return its figures, in which `failure` says why it ended early.

        Raises LoadError if the server can't be reached at the start, unless clients are told to reconnect.
        """
        measurement = self.measurement
        try:
            if self._target.reconnect:
                self._connections.find()
                self._lost = LostClients(self._clients, time.perf_counter())
            else:
                self._connections.open(self._clients)
            cpu, begin = time.process_time(), time.perf_counter()
            self._due = begin
            self._last = begin
            end = begin + self._seconds if self._seconds is not None else float("inf")
            if not self._target.reconnect:
                for client in self._clients:
                    self._use(client)
            self._loop(begin, end)
            measurement.seconds = self._last - begin
            measurement.cpu_seconds = time.process_time() - cpu
            # Divided by the whole run: a server that stalls adds nothing to `seconds`.
            measurement.cpu_share = measurement.cpu_seconds / (time.perf_counter() - begin)
        finally:
            self._connections.close_all(self._clients)
        return measurement

    def _loop(self, begin: float, end: float) -> None:
        select_ready, next_tick = self._selector.select, begin + _TICK
        now = begin
        while self._sending or self._waiting or self._again:
            if self._lost:
                self._reconnect()
            if self._interval and self._sending:
                self._send_due(now)
                # The selector counts in milliseconds; select(), asked about the selector itself, does not.
                pause = max(0.0, self._due - time.perf_counter()) if self._idle else _TICK
                select.select([self._selector.fileno()], [], [], min(pause, self._longest_pause()))
                events = select_ready(0)
            else:
                events = select_ready(self._longest_pause())
            now = time.perf_counter()
            if now >= end:
                self._end(now)
                end = float("inf")
            for key, mask in events:
                if mask & selectors.EVENT_READ:
                    self._read(key.data)
                if mask & selectors.EVENT_WRITE and key.data.socket is not None:
                    self._write(key.data)
            if now >= next_tick:
                next_tick = now + _TICK
                self._tick(now, now - begin)
        self.measurement.series.append(
            (self._last - begin, self.measurement.documents, self.measurement.opened)
        )

    def _end(self, now: float) -> None:
        """Count what was due by the end of the run and was not sent."""
        self._sending = False
        if self._interval and now > self._due:
            self.measurement.unsent = int((now - self._due) / self._interval)

    def _longest_pause(self) -> float:
        """Return how many seconds the loop may wait for events."""
        if self._lost and (self._sending or self._again):
            return min(_TICK, self._lost.seconds_until_due(time.perf_counter()))
        return _TICK

    def _reconnect(self) -> None:
        """Reconnect lost clients, one after the other, until one of them fails or must wait."""
        while (self._sending or self._again) and (client := self._lost.due(time.perf_counter())) is not None:
            if not self._target.new_connection_each:
                try:
                    self._connections.find()  # anew: the name may lead to another machine by now
                    self._connections.connect(client)
                except OSError:
                    self._connections.close(client)
                    self._lost.back_off(time.perf_counter())
                    return
            self._lost.found()
            self._use(client)

    def _use(self, client: LoadClient) -> None:
        """Give a client its next document: now, or, in an open loop, when one is due."""
        if self._again:
            self._send(client, *self._again.popleft())
        elif self._interval:
            self._idle.append(client)
        elif self._sending:
            self._send_next(client, time.perf_counter())

    def _send_due(self, now: float) -> None:
        while self._idle and self._due <= now and self._sending:
            client = self._idle.popleft()
            self._send_next(client, self._due)
            self._due += self._interval

    def _send_next(self, client: LoadClient, due: float) -> None:
        """Send the next document on an idle client; if there is none, send no more."""
        item = next(self._source, None) if self._sending else None
        if item is None:
            self._sending = False
            return
        self._send(client, *item, due)

    def _send(self, client: LoadClient, document: bytes, template: Template, due: float) -> None:
        client.document, client.template = document, template
        client.started = due
        client.sent = time.perf_counter()
        self._waiting += 1
        data = self._frame(client.document)
        if self._target.new_connection_each:
            if wrong := self._connections.begin(client, data):
                self._closed(client, wrong)
        elif client.socket is not None:
            try:
                done = client.socket.send(data)
            except BlockingIOError:
                done = 0
            except OSError:
                client.unsent = memoryview(data)
                return  # the server has closed: reading says so, after its last words
            if done < len(data):
                client.unsent = memoryview(data)[done:]
                self._selector.modify(client.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, client)

    def _frame(self, document: bytes) -> bytes:
        return wrap_reply(document, self._target.framing)

    def _write(self, client: LoadClient) -> None:
        """Send what could not be sent at once, or before the connection was open."""
        assert client.socket is not None
        try:
            client.unsent = client.unsent[client.socket.send(client.unsent) :]
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.EPIPE:
                self._closed(client, f"a connection was lost: {error.strerror}")
                return
            client.unsent = memoryview(b"")  # reading says why the server has closed
        if not client.unsent:
            self._selector.modify(client.socket, selectors.EVENT_READ, client)

    def _read(self, client: LoadClient) -> None:
        assert client.socket is not None
        try:
            data = client.socket.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self._closed(client, f"a connection was lost: {error.strerror}")
            return
        if not data:
            self._closed(client, self._why_closed(client))
        elif client.template is None:
            if data.strip():
                self._lose(client, f"the server sent something unasked: {excerpt(data)}")
        elif not client.received and data.endswith(ENDS):
            self._answered(client, data)
        else:
            client.received += data
            if is_complete(client.received):
                reply = bytes(client.received)
                client.received.clear()
                self._answered(client, reply)
            elif wrong := problem(client.received):
                self._lose(client, wrong)

    def _answered(self, client: LoadClient, reply: bytes) -> None:
        now = time.perf_counter()
        measurement, template = self.measurement, client.template
        if now - self._last > measurement.longest_silence:
            measurement.longest_silence = now - self._last
        self._last = now
        assert template is not None
        measurement.record(now - client.started)
        measurement.documents += 1
        measurement.requests += template.requests
        client.template = None
        client.answered += 1
        self._waiting -= 1
        opened, refused = reply.count(b"<opened"), reply.count(b"<error")
        measurement.opened += opened
        if refused:
            measurement.refused += refused
            measurement.note_errors(reply)
        if opened + refused != template.requests and count_results(reply) != template.requests:
            measurement.incomplete += 1
        if self._on_reply is not None:
            self._on_reply(template, client.document, reply)
        if refused and _STOPPING in reply:
            self._closed(client, "the server is stopping")
            return
        if self._target.new_connection_each:
            self._connections.close(client)
        self._use(client)

    def _tick(self, now: float, since_begin: float) -> None:
        measurement, limit = self.measurement, self._target.stall_seconds
        measurement.series.append((since_begin, measurement.documents, measurement.opened))
        overdue = [
            client for client in self._clients if client.template is not None and now - client.sent > limit
        ]
        if overdue:
            heard = next((client.received for client in overdue if client.received), b"")
            what = f"after no more than {excerpt(heard)}" if heard else "not a byte"
            number = f"{len(overdue)} of {len(self._clients)} clients"
            for client in overdue:
                self._lose(client, f"the server has stalled: {number} got no reply in {limit:g} s, {what}")
        if (self._sending or self._again) and self._lost.seconds_without(now) > limit:
            self._fail(
                f"the server has been away for {limit:g} s: {len(self._lost)} clients can't connect again"
            )
        if self._on_tick is not None:
            self._on_tick(measurement)

    def _closed(self, client: LoadClient, why: str) -> None:
        """Handle the end of a connection, which ends the run unless clients are told to reconnect."""
        if not self._target.reconnect:
            self._lose(client, why)
            return
        template, document = client.template, client.document
        whole = template is not None and len(client.unsent) == len(self._frame(document))
        if template is not None and (whole or self._resends) and self.measurement.failure is None:
            self._again.append((document, template, client.started))
            client.template = None
            self._waiting -= 1
            if not whole:
                self.measurement.resent += 1
                if self._on_resend is not None:
                    self._on_resend(template, document)
        if client in self._idle:
            self._idle.remove(client)
        self.measurement.lost_connections += not whole
        self._give_up_document(client)
        self._connections.close(client)
        self._lost.add(client, time.perf_counter())

    def _lose(self, client: LoadClient, why: str) -> None:
        """Give up a connection. The first one ends the run."""
        if client.template is None and not self._sending:
            why = ""  # a server may close a connection that is no longer used
        self._give_up_document(client)
        self._connections.close(client)
        if why:
            self._fail(why)

    def _give_up_document(self, client: LoadClient) -> None:
        """Stop waiting for a client's reply, if it waits for one: the fate of its document is unknown."""
        if client.template is None:
            return
        if self._on_unknown is not None:
            self._on_unknown(client.template, client.document)
        client.template = None
        self._waiting -= 1
        self.measurement.unanswered += 1

    def _fail(self, why: str) -> None:
        """End the run. The first reason is the one that is reported."""
        silence = time.perf_counter() - self._last
        self.measurement.longest_silence = max(silence, self.measurement.longest_silence)
        self.measurement.failure = self.measurement.failure or why
        self._sending = False
        self.measurement.unanswered += len(self._again) if self._resends else 0
        self._again.clear()

    def _why_closed(self, client: LoadClient) -> str:
        if client.received:
            return f"the server closed a connection within a reply, after {excerpt(client.received)}"
        if client.answered:
            return (
                "the server closed a connection after a reply; if it always does, use --new-connection-each"
            )
        return "the server closed a connection without a reply"
