"""The network between the clients of a test and the exchange, which can be cut and be slow.

It knows bytes and no documents: a reply is what the exchange sends.
"""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Literal, Self, TypeVar

__all__ = ["Moment", "Network"]

Moment = Literal["now", "request", "reply"]

_T = TypeVar("_T")
_READ_BYTES = 64 * 1024


class Network:
    """A port of 127.0.0.1 that leads to the exchange. Use it as a context manager.

    One thread runs everything; `_cut_at`, `_delay` and `_links` are its own.
    """

    def __init__(self, find_target: Callable[[], tuple[str, int]]) -> None:
        """Lead each new connection to the address that `find_target` returns then; any thread may call it."""
        self.port = 0
        self._find_target = find_target
        self._cut_at: Moment | None = None
        self._delay = 0.0  # seconds
        self._links: set[_Link] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="pgbourse-network", daemon=True)

    def cut(self, at: Moment) -> None:
        """Cut all connections now; or the one of the next request, or of the next reply, in its place."""
        self._do(lambda: self._cut(at))

    def delay(self, seconds: float) -> None:
        """Hold replies back for so long from now on."""
        self._do(lambda: setattr(self, "_delay", seconds))

    def reset(self) -> None:
        """Reset all connections that are left: feeds, which an exchange goes on with after a half-close."""
        self._do(self._reset)

    def restore(self) -> None:
        """Let everything pass at once again."""
        self._do(self._restore)

    def __enter__(self) -> Self:
        self._thread.start()
        listening = asyncio.start_server(self._lead, "127.0.0.1", 0)
        self._server = asyncio.run_coroutine_threadsafe(listening, self._loop).result()
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, action: Callable[[], _T]) -> _T:
        """Let the thread do something, and return when it is done."""

        async def act() -> _T:
            return action()

        return asyncio.run_coroutine_threadsafe(act(), self._loop).result()

    # Everything below runs in the thread.

    def _cut(self, at: Moment) -> None:
        if at != "now":
            self._cut_at = at
            return
        for link in self._links:
            link.cut()

    def _reset(self) -> None:
        for link in self._links:
            link.reset()

    def _restore(self) -> None:
        self._cut_at = None
        self._delay = 0.0

    async def _end(self) -> None:
        self._server.close()
        self._cut("now")
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _lead(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass everything on in both directions until either end closes."""
        with contextlib.suppress(OSError, asyncio.CancelledError):
            async with _connected(writer, *self._find_target()) as (exchange, to_exchange):
                link = _Link(writer, to_exchange)
                self._links.add(link)
                try:
                    await asyncio.gather(
                        self._pass_requests(link, reader), self._pass_replies(link, exchange)
                    )
                finally:
                    self._links.discard(link)

    async def _pass_requests(self, link: "_Link", source: asyncio.StreamReader) -> None:
        while data := await source.read(_READ_BYTES):
            if self._is_cut_at("request"):
                link.cut()
                return
            link.to_exchange.write(data)
            await link.to_exchange.drain()
        link.to_exchange.write_eof()

    async def _pass_replies(self, link: "_Link", source: asyncio.StreamReader) -> None:
        """Read at once and pass on when it is due: what comes while something is held back isn't later."""
        held: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        passing = asyncio.ensure_future(_pass_when_due(held, link.to_client))
        try:
            while data := await source.read(_READ_BYTES):
                if self._is_cut_at("reply"):
                    link.cut()
                    return
                held.put_nowait((self._loop.time() + self._delay, data))
            held.put_nowait((self._loop.time() + self._delay, b""))
            await passing
        finally:
            passing.cancel()

    def _is_cut_at(self, moment: Moment) -> bool:
        """Whether this is where the network is to be cut, which happens once."""
        if self._cut_at != moment:
            return False
        self._cut_at = None
        return True


class _Link:
    """A connection of a client and the one that it leads to."""

    def __init__(self, to_client: asyncio.StreamWriter, to_exchange: asyncio.StreamWriter) -> None:
        self.to_client = to_client
        self.to_exchange = to_exchange

    def cut(self) -> None:
        # The exchange sees the end of what it was sent, and carries that out.
        self.to_client.transport.abort()
        self.to_exchange.close()

    def reset(self) -> None:
        """Cut it so that the exchange sees that nobody is there, and not only the end of what it was sent."""
        end: socket.socket = self.to_exchange.get_extra_info("socket")
        with contextlib.suppress(OSError):  # the exchange has closed it already
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.to_client.transport.abort()
        self.to_exchange.transport.abort()


@contextlib.asynccontextmanager
async def _connected(
    client: asyncio.StreamWriter, host: str, port: int
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Connect to the exchange, and leave neither connection open. Without an exchange the client's ends."""
    try:
        reader, writer = await asyncio.open_connection(host, port)
        try:
            yield reader, writer
        finally:
            writer.close()
    finally:
        client.close()


async def _pass_when_due(held: "asyncio.Queue[tuple[float, bytes]]", sink: asyncio.StreamWriter) -> None:
    """Pass on what is held, each at its time; empty bytes are the end."""
    loop = asyncio.get_running_loop()
    while True:
        due, data = await held.get()
        if (wait := due - loop.time()) > 0:
            await asyncio.sleep(wait)
        if not data:
            sink.write_eof()
            return
        sink.write(data)
        await sink.drain()
