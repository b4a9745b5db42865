"""Waiting documents -> batches -> one database call each -> replies.

Workers take what has gathered while the last batches were in the database. So batches grow with the load,
without a timer, and all documents of a batch share one commit.
"""

import contextlib
import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from pgbourse.serve.batch import Item, hand_out, literal_of, mark_writes, writes
from pgbourse.serve.calls import Caller, CallFailed, ConnectionGone, FateUnknown, ReadOnly
from pgbourse.serve.sessions import find_writer
from pgbourse.serve.tally import Tally
from pgbourse.serve.writegate import WriteGate
from pgbourse.wire.framing import Frame, Framing, wrap_reply
from pgbourse.wire.messages import ResultRow, error_reply, format_reply, parse_all

__all__ = ["Dispatcher", "Peer"]

_log = logging.getLogger("pgbourse.dispatch")

# Seconds between two attempts to reach a database that is down, at first and at most: clients are served
# again within a second of its return.
_FIRST_RETRY = 0.05
_LAST_RETRY = 0.25

# Bytes of documents that a worker reads before a fresh thread takes over. That takes a tenth of a
# millisecond, or less than 0.01 microseconds for a document of one order.
BYTES_A_THREAD = 2_000_000


class Peer(Protocol):
    """A client as dispatch sees it: documents come in order, and replies go in the same order."""

    certificate_name: str | None  # of the certificate that the client presented

    def take(self) -> Frame | None:
        """Return the next document, or None."""

    def put_back(self, frames: Sequence[Frame]) -> None:
        """Put taken documents, and all that were taken after them, back in their place."""

    def answer(self, replies: bytes) -> bool:
        """Deliver replies. True if more documents wait and the client stays with dispatch."""

    def abandon(self) -> list[Frame]:
        """Close without a reply to what was taken, whose fate is unknown; return what is dropped with it."""


_Turn = tuple[Peer, list[Item]]  # one client's part of a batch


class Dispatcher:
    """The queue of clients whose documents wait, and the worker threads that carry them out."""

    def __init__(
        self,
        conninfo: str,
        *,
        workers: int,
        batch_requests: int,
        reply_framing: str,
        on_room: Callable[[], None],
        with_tallies: bool = False,
        certified: bool = False,
    ) -> None:
        """Take the database's connection string, and the settings of the same names.

        `with_tallies` counts what the workers do in `tallies`, one for each of them.
        `certified` clients may do what the database says of the certificates that they have shown.
        `on_room` is called by a worker that has taken documents while `wants_room` is set.
        """
        self._conninfo = conninfo
        self._batch_requests = batch_requests
        self._framing_of_reply: Callable[[Framing], Framing | None] = {
            "plain": lambda _: None,
            "length": lambda _: Framing.LENGTH_LINE,
            "mirror": lambda framing: framing,
        }[reply_framing]
        self._certified = certified
        self._on_room = on_room
        self.wants_room = False
        # Guards the wait for ready clients or for the end, and who the workers are. The deque's append and
        # popleft are atomic alone.
        self._work = threading.Condition()
        self._ready: deque[Peer] = deque()
        self._stopping = threading.Event()
        self._gate: WriteGate[Peer] = WriteGate(conninfo, self.submit, self._stopping)
        # What has been submitted, by the I/O thread, and taken, by each worker in a place of its own: the
        # difference waits. One writer each, so no lock.
        self._submitted = [0, 0]
        self._taken = [[0, 0] for _ in range(workers)]
        self.tallies = [Tally() for _ in range(workers)] if with_tallies else []
        self._callers = [Caller(conninfo, f"pgbourse worker {i + 1}") for i in range(workers)]
        self._threads = [self._new_thread(i) for i in range(workers)]  # the present one of each worker

    def _new_thread(self, worker: int) -> threading.Thread:
        # A daemon: a call that never ends must not keep the process alive.
        name = f"pgbourse-worker-{worker + 1}"
        return threading.Thread(target=self._run, args=(worker,), name=name, daemon=True)

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def submit(self, peers: Sequence[Peer]) -> None:
        """Hand over clients whose documents wait. A client is not handed over again before it was let go."""
        with self._work:
            self._ready.extend(peers)
            self._work.notify()

    def count(self, frames: Sequence[Frame]) -> None:
        """Count these documents as waiting. Only one thread may call it."""
        _add(self._submitted, frames)

    def waiting(self) -> tuple[int, int]:
        """Return how many documents and bytes wait for a worker."""
        documents, size = self._submitted
        return documents - sum(taken[0] for taken in self._taken), size - sum(
            taken[1] for taken in self._taken
        )

    def oldest_call(self) -> float:
        """Return for how many seconds the oldest batch has waited for the database; 0 if none does."""
        now = time.monotonic()
        return max(now - (caller.busy_since or now) for caller in self._callers)

    def takes_no_writes(self) -> str:
        """Return why requests that write wait, or an empty string."""
        return self._gate.reason

    def stop(self, timeout: float) -> bool:
        """Let workers finish what is ready, or give up waiting for the database. False if one goes on."""
        deadline = time.monotonic() + timeout
        self._stopping.set()
        with self._work:
            self._work.notify_all()
        for thread in self._threads:  # no other takes over any more
            if thread.ident is not None:
                thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _run(self, worker: int) -> None:
        """Run a worker until stopped, or until a fresh thread takes over.

        lxml keeps every name that it meets as long as its thread lives, and clients may invent names. So a
        thread that has read this many bytes hands over to another one, with its connection and its counts.
        """
        caller, taken = self._callers[worker], self._taken[worker]
        tally = self.tallies[worker] if self.tallies else None
        enough = taken[1] + BYTES_A_THREAD
        while (peer := self._next()) is not None:
            self._serve(peer, caller, taken, tally)
            if taken[1] >= enough and self._hand_over(worker):
                return
        caller.close()

    def _hand_over(self, worker: int) -> bool:
        """Let a fresh thread be this worker. False once stopped, or if no thread can be started now."""
        thread = self._new_thread(worker)
        with self._work:
            if self._stopping.is_set():
                return False
            try:
                thread.start()
            except RuntimeError:
                return False
            self._threads[worker] = thread
            return True

    def _serve(self, peer: Peer, caller: Caller, taken: list[int], tally: Tally | None) -> None:
        """Gather a batch, beginning with this client's documents, carry it out and answer."""
        turns: list[_Turn] = []
        try:
            self._gather(peer, turns, taken)
            before = caller.seconds
            self._carry_out(turns, caller)
            waiting = self._put_back(turns, taken)
            if tally is not None:
                tally.carried_out([items for _, items in turns], caller.seconds - before)
                tally.reconnects = max(0, caller.connects - 1)
            while turns:
                peer, items = turns[-1]
                self._answer(peer, items, taken, waits=len(turns) in waiting)
                turns.pop()
                if tally is not None:
                    tally.answered(items)
        except Exception:  # noqa: BLE001 - a bug of ours, logged as such, must not end the worker
            _log.exception("closing %d clients after an unforeseen error", len(turns))
            for peer, _ in turns:
                _add(taken, peer.abandon())

    def _next(self) -> Peer | None:
        """Wait for a client with documents; None once stopped with none left."""
        with self._work:
            while not self._ready:
                if self._stopping.is_set():
                    return None
                self._work.wait()
            return self._ready.popleft()

    def _gather(self, first: Peer, turns: list[_Turn], taken: list[int]) -> None:
        """Take documents from ready clients, beginning with this one, until the batch is full."""
        peer: Peer | None = first
        size = 0  # results in the replies, at most: what is refused at once also costs time and memory
        frames: list[tuple[int, Frame]] = []
        while peer is not None:
            turns.append((peer, []))
            while size < self._batch_requests and (frame := peer.take()) is not None:
                frames.append((len(turns), frame))
                size += max(1, frame.document.count(b"<") - 2)  # the root has two, a child one or two
                _add(taken, (frame,))
            peer = None
            if size < self._batch_requests and self._ready:
                with contextlib.suppress(IndexError):  # another worker was faster
                    peer = self._ready.popleft()
        if self._ready:
            with self._work:
                self._work.notify()  # more waits than this batch takes
        if self.wants_room:
            self._on_room()
        documents = parse_all([frame.document for _, frame in frames])
        for (sequence, frame), document in zip(frames, documents, strict=True):
            peer, items = turns[sequence - 1]
            items.append(Item(sequence, frame, document, peer.certificate_name))

    def _carry_out(self, turns: list[_Turn], caller: Caller) -> None:
        """Give every item its results or its failure, or mark it lost."""
        if self._gate.reason:
            for _, items_of_one in turns:
                mark_writes(items_of_one)
        items = [item for _, items in turns for item in items if item.requests and not item.waits]
        if not items:
            return
        try:
            self._call(items, caller)
        except ReadOnly as error:
            self._gate.shut(str(error))
            self._carry_out(turns, caller)
        except CallFailed as error:
            _log.warning("a batch of %d documents failed, trying each alone: %s", len(items), error)
            self._carry_out_alone(items, caller)
        except (FateUnknown, ConnectionGone) as error:
            _log.error("closing %d clients, fate of their requests unknown: %s", len(turns), error)
            for item in items:
                item.lost = True

    def _carry_out_alone(self, items: list[Item], caller: Caller) -> None:
        """Try each document of a failed batch alone, so that only the one at fault fails."""
        lost: set[int] = set()
        waits: set[int] = set()
        for item in items:
            if item.sequence in lost:
                item.lost = True  # its client's connection will be closed before its turn
                continue
            if item.sequence in waits:
                item.waits = True
                continue
            try:
                self._call([item], caller)
            except CallFailed as error:
                reference = secrets.token_hex(4)
                _log.error("internal error %s (SQLSTATE %s): %s", reference, error.sqlstate, error)
                _log.debug("internal error %s: %s", reference, error.detail)
                item.failure = f"internal error {reference}: nothing of this document was carried out"
            except ReadOnly as error:
                self._gate.shut(str(error))
                item.waits = True
                waits.add(item.sequence)
            except (FateUnknown, ConnectionGone) as error:
                _log.error("closing a client, fate of its request unknown: %s", error)
                item.lost = True
                lost.add(item.sequence)

    def _call(self, items: list[Item], caller: Caller) -> None:
        """Carry out these documents in one transaction; while the database is away, wait for it.

        Raises CallFailed, FateUnknown, ReadOnly if some of them write, and ConnectionGone only if stopped
        meanwhile.
        """
        caller.busy_since = time.monotonic()
        try:
            rows = self._try_until_there(items, caller)
        finally:
            caller.busy_since = 0.0
        hand_out(items, rows)

    def _try_until_there(self, items: list[Item], caller: Caller) -> list[ResultRow]:
        requests = literal_of(items)
        delay = _FIRST_RETRY
        gone_since = 0.0
        renewed = False
        while True:
            try:
                self._connect(caller)
                if caller.is_read_only and any(map(writes, items)):
                    raise ReadOnly("default_transaction_read_only is on")
                rows = caller.process_batch(requests, self._certified)
                break
            except ReadOnly as error:
                if not any(map(writes, items)):
                    raise CallFailed(str(error), "25006", str(error)) from error
                if renewed or not find_writer(self._conninfo):
                    raise
                renewed = True  # this session began during the outage
                caller.disconnect()
            except ConnectionGone as error:
                if not gone_since:
                    gone_since = time.monotonic()
                    _log.warning("the database is away, requests wait: %s", error)
                elif self._stopping.wait(delay):
                    raise
                else:
                    delay = min(2 * delay, _LAST_RETRY)
        if gone_since:
            _log.warning("the database is back after %.1f s", time.monotonic() - gone_since)
        return rows

    def _connect(self, caller: Caller) -> None:
        """Make sure that there is a session, one that takes writes if possible."""
        if caller.is_read_only and not self._gate.reason:
            caller.disconnect()  # the gate has opened since the session began
        caller.connect()
        if caller.is_read_only:
            self._gate.shut("default_transaction_read_only is on")

    def _put_back(self, turns: list[_Turn], taken: list[int]) -> set[int]:
        """Return waiting documents to their clients; return these clients' places in the batch."""
        waiting: set[int] = set()
        if not any(item.waits for _, items in turns for item in items):  # nearly always
            return waiting
        for place, (peer, items) in enumerate(turns, 1):
            first = next((i for i, item in enumerate(items) if item.waits), None)
            if first is None:
                continue
            frames = [item.frame for item in items[first:]]
            del items[first:]
            peer.put_back(frames)
            _add(taken, frames, -1)
            waiting.add(place)
        return waiting

    def _answer(self, peer: Peer, items: list[Item], taken: list[int], *, waits: bool) -> None:
        """Send a client its replies; at the first document of unknown fate, close its connection instead.

        A client that `waits` for the database to take writes again is not served before that.
        """
        replies: list[bytes] = []
        for item in items:
            if item.lost:
                if replies:
                    peer.answer(b"".join(replies))
                _add(taken, peer.abandon())
                return
            reply = error_reply(item.failure) if item.failure else format_reply(item.document, item.results)
            replies.append(wrap_reply(reply, self._framing_of_reply(item.frame.framing)))
        if peer.answer(b"".join(replies)):
            if waits:
                self._gate.wait(peer)
            else:
                self._ready.append(peer)


def _add(count: list[int], frames: Sequence[Frame], times: int = 1) -> None:
    """Add documents and their bytes to a count of both; with -1 times, subtract them."""
    count[0] += times * len(frames)
    for frame in frames:
        count[1] += times * len(frame.document)
