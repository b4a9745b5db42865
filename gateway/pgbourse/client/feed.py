"""A feed of the market: what happens to books, as it happens, on a connection of its own.

    with Feed("127.0.0.1", 12345, resume=True) as feed:
        feed.subscribe("SPY")
        book = LocalBook("SPY")
        for value in feed:
            book.apply(value)
            print(book.best_bid, book.best_ask)

One thread at a time may use a feed. Nothing is read ahead: who reads slowly leaves what is to come with the
server, which sends a snapshot in place of what was too much.
"""

import contextlib
import ssl
import time
from collections.abc import Iterator
from typing import Self

from pgbourse.client.connection import ClientError, Connection, ConnectionLost
from pgbourse.client.features import ask_server, expect_features
from pgbourse.client.feedconnection import FeedConnection
from pgbourse.client.feedreader import NotOfAFeed, read_feed
from pgbourse.client.feedvalues import FeedValue
from pgbourse.client.followed import Followed
from pgbourse.errors import PgbourseError

__all__ = ["Feed"]

_FIRST_PAUSE = 0.05  # seconds between attempts to connect again; each pause is twice the one before
_LAST_PAUSE = 2.0


class Feed:
    """Follows symbols, and iterates what the server says of them.

    A symbol begins with a Snapshot, or with Resumed, and goes on with Updates; `seq` never leaves one out and
    never comes twice. Only a new Snapshot goes further: after a server had to leave something out.

    With `resume`, a connection that is lost is opened anew, and every symbol goes on (Resumed) at the update
    after its last. Where the server doesn't keep that any more, a Snapshot comes instead.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 12345,
        *,
        timeout: float = 30.0,
        tls: ssl.SSLContext | None = None,
        resume: bool = False,
        reconnect_seconds: float = 60.0,
    ) -> None:
        """Connect. A server that says nothing for `timeout` seconds is lost: an idle one says so every 10.

        With `resume`, a lost server is given up after `reconnect_seconds`.

        Raises ClientError if the server can't be reached, NotSupported if it has no feed.
        """
        if timeout <= 0 or reconnect_seconds < 0:
            raise ValueError("timeout must be above 0, reconnect_seconds 0 or more")
        self._where = (host, port, timeout, tls)
        self._timeout = timeout
        self._resumes = resume
        self._reconnect_seconds = reconnect_seconds
        with contextlib.closing(Connection(*self._where)) as connection:
            expect_features(ask_server(connection), {"subscribe"})
        self._followed = Followed()
        self._end: ClientError | None = None
        self._connection: FeedConnection | None = FeedConnection(*self._where)
        # While nothing has come since a connection was lost: since when, and when the next one may be opened.
        self._lost_at: float | None = None
        self._connect_at = 0.0
        self._pause = _FIRST_PAUSE

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._end = self._end or ClientError("this feed is closed")
        self._hang_up()

    def subscribe(self, *syms: str, from_: int | None = None) -> None:
        """Follow these symbols from now on, each from a snapshot; or from update `from_`, if that is kept.

        The answers are among what is iterated. A symbol that does not exist is a FeedError there.

        Raises ConnectionLost, unless the feed resumes, and the error that has ended the feed before.
        """
        with self._ended_by_errors():
            for sym in syms:
                document = self._followed.subscribe(sym, from_)
                try:
                    if self._connection is not None:  # else it is sent with all others
                        self._connection.send(document)
                except ConnectionLost as error:
                    self._lose(error)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> FeedValue:
        """Return the next value, however long it takes. Raises what `receive` raises."""
        while (value := self.receive()) is None:
            pass
        return value

    def receive(self, wait: float | None = None) -> FeedValue | None:
        """Return the next value. With `wait`, None if there is none within so many seconds.

        An attempt to connect again may take longer than that.

        Raises ConnectionLost or TimedOut (with `resume`, once the server is given up), ReplyError where the
        server says what makes no sense. That ends the feed.
        """
        deadline = None if wait is None else time.monotonic() + wait
        with self._ended_by_errors():
            while (value := self._received()) is None:
                if not self._wait(deadline):
                    return None
            return value

    @contextlib.contextmanager
    def _ended_by_errors(self) -> Iterator[None]:
        """Let an error end the feed; raises the one that has ended it before."""
        if self._end is not None:
            raise self._end
        try:
            yield
        except PgbourseError as error:
            self._end = ClientError(f"this feed has ended: {error}")
            self._hang_up()
            raise

    def _received(self) -> FeedValue | None:
        """Return a value that has arrived."""
        if self._connection is None or (document := self._connection.next()) is None:
            return None
        try:
            value = read_feed(document)
        except NotOfAFeed as error:
            self._lose(ConnectionLost(str(error)))
            return None
        self._followed.take(value)
        self._lost_at = None
        return value

    def _wait(self, deadline: float | None) -> bool:
        """Wait for something to arrive, or for a new connection; return False if the deadline comes first."""
        try:
            if self._connection is not None:
                return self._connection.read(deadline)
            until = self._connect_at if deadline is None else min(deadline, self._connect_at)
            time.sleep(max(0.0, until - time.monotonic()))
            if until < self._connect_at:
                return False
            self._connection = FeedConnection(*self._where, self._followed.on_new_connection())
        except ClientError as error:
            self._lose(error)
        return True

    def _lose(self, error: ClientError) -> None:
        """Hang up, and say when to connect again. Raises the error where that is not to be tried."""
        self._hang_up()
        now = time.monotonic()
        if self._lost_at is None:
            self._lost_at = self._connect_at = now
            self._pause = _FIRST_PAUSE
        else:
            self._connect_at = now + self._pause
            self._pause = min(2 * self._pause, _LAST_PAUSE)
        if not self._resumes:
            raise error
        if self._connect_at - self._lost_at > self._reconnect_seconds:
            raise ConnectionLost(f"the server was lost, and did not come back: {error}") from error

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
