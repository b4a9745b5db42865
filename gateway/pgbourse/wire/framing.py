"""Cut a connection's bytes into XML documents, and wrap replies: a pure state machine without sockets or XML.

docs/protocol.md describes the four framings; beginnings.py tells them apart.
"""

import re
from dataclasses import dataclass, field

from pgbourse.wire.bare import BareScanner
from pgbourse.wire.beginnings import SEPARATORS, FrameError, Framing, find_request

__all__ = ["Frame", "FrameError", "Framer", "Framing", "wrap_reply"]


@dataclass(slots=True)
class Frame:
    """A complete document, not parsed yet, and the framing that it came in."""

    document: bytes
    framing: Framing
    received: float = field(default=0.0, compare=False)  # when it was complete, by the clock of `feed`


_LENGTH_LINE = re.compile(rb"([0-9]{1,20})\r?\n")
_LENGTH_LINE_START = re.compile(rb"[0-9]{1,20}\r?")
# A length that can be nothing else: the fourth byte isn't a NUL.
_PLAIN_LENGTH_LINE = re.compile(rb"([0-9]{1,20})\r?\n(?=<[^\0])")


class Framer:
    """Cut one connection's input into documents.

    However the input is cut into pieces, the documents and the error are the same. At most one document of
    the allowed size is held, and the few bytes before it.
    """

    def __init__(self, max_document_bytes: int) -> None:
        """Accept documents of up to `max_document_bytes`; those with a binary length only below 16 MiB."""
        self._max = max_document_bytes
        self._buffer = bytearray()
        self._now = 0.0
        self._framing: Framing | None = None  # of the document being received; None between documents
        self._length = 0  # of the document being received, if its framing tells
        self._scanner: BareScanner | None = None
        self._after_nul = False  # the last byte before the buffer was a NUL that separates
        self._after_utf16le = False  # the last document was bare and in UTF-16LE
        self._finished = False
        self.error: FrameError | None = None

    @property
    def mid_frame(self) -> bool:
        """Whether a request has begun but is not complete; white space and NULs don't begin one."""
        return self._framing is not None or (bool(self._buffer) and bool(self._buffer.strip(SEPARATORS)))

    @property
    def progress(self) -> str:
        """How much of the unfinished request has arrived, in words, such as `172 of 173 bytes`."""
        if self._framing is None or self._scanner is not None:
            return f"{len(self._buffer)} bytes"
        return f"{len(self._buffer)} of {self._length} bytes"

    @property
    def buffered(self) -> int:
        """How many received bytes are held."""
        return len(self._buffer)

    def feed(self, data: bytes | bytearray | memoryview, now: float = 0.0) -> list[Frame]:
        """Take received bytes and return the documents that they complete, in order, with the time `now`.

        Never raises. `error` is set if what follows these documents can't be a request; from then on all
        input is ignored.

        Fewer than four bytes decide nothing: `0` and a newline may also begin a binary length.
        """
        if self.error is not None or self._finished:
            return []
        if not self._buffer and self._framing is None and (frame := self._whole(data, now)) is not None:
            return [frame]
        self._now = now
        self._buffer += data
        return self._frames()

    def finish(self) -> list[Frame]:
        """Take the end of the input and return the documents that it completes, in order.

        Sets `error` if a request has begun and is not complete.
        """
        if self.error is not None or self._finished:
            return []
        self._finished = True
        frames = self._frames() if self.mid_frame else []
        if self.error is None and self.mid_frame:
            self._fail(FrameError(f"the input ended within a request, after {self.progress} of it"))
        return frames

    def _whole(self, data: bytes | bytearray | memoryview, now: float) -> Frame | None:
        """Return the document if the data are a length line and all of it, as nearly always."""
        line = _PLAIN_LENGTH_LINE.match(data)
        if line is None:
            return None
        start = line.end()
        length = int(bytes(line[1]))
        if start + length != len(data) or length > self._max:
            return None
        self._after_nul = False
        self._after_utf16le = False
        return Frame(bytes(data[start:]), Framing.LENGTH_LINE, now)

    def _fail(self, error: FrameError) -> None:
        self.error = error
        self._buffer.clear()
        self._framing = None
        self._scanner = None

    def _frames(self) -> list[Frame]:
        frames: list[Frame] = []
        try:
            while self._framing is not None or self._begin():
                frame = self._complete()
                if frame is None:
                    break
                frames.append(frame)
        except FrameError as error:
            self._fail(error)
        return frames

    def _begin(self) -> bool:
        """Find the framing of the next request; False while there is too little input to tell."""
        buffer = self._buffer
        at, framing = find_request(
            buffer, after_nul=self._after_nul, after_utf16le=self._after_utf16le, finished=self._finished
        )
        if at:
            self._after_nul = buffer[at - 1] == 0
            del buffer[:at]
        if framing is None:
            return False
        if framing is Framing.LENGTH_LINE:
            match = _LENGTH_LINE.match(buffer)
            if match is None:
                return self._await_length_line()
            self._begin_sized(framing, int(match.group(1)), match.end())
        elif framing is Framing.BARE:
            self._framing = framing
            self._scanner = BareScanner(buffer)
            self._after_utf16le = self._scanner.utf16_low_byte == 0
        else:
            header = 5 if framing is Framing.BINARY_LENGTH else 4
            self._begin_sized(framing, int.from_bytes(buffer[:4], "little"), header)
        self._after_nul = False
        return True

    def _begin_sized(self, framing: Framing, length: int, header: int) -> None:
        if length > self._max:
            raise FrameError(f"a document of {length} bytes is over the limit of {self._max} bytes")
        del self._buffer[:header]
        self._framing = framing
        self._length = length
        self._after_utf16le = False

    def _await_length_line(self) -> bool:
        match = _LENGTH_LINE_START.match(self._buffer)
        assert match is not None  # it begins with a digit
        if match.end() < len(self._buffer):
            shown = repr(bytes(self._buffer[: match.end() + 1]))[1:]
            raise FrameError(
                f"a length line can't begin with {shown}: it is 1 to 20 decimal digits and a newline"
            )
        return False

    def _complete(self) -> Frame | None:
        """Take the document, whose framing is known, from the buffer if it is complete."""
        framing = self._framing
        assert framing is not None
        if self._scanner is None:
            end = self._length if len(self._buffer) >= self._length else None
        else:
            end = self._scanner.scan(self._buffer)
            if (len(self._buffer) if end is None else end) > self._max:
                raise FrameError(f"a document of more than {self._max} bytes is over the limit")
        if end is None:
            return None
        with memoryview(self._buffer) as view:
            document = bytes(view[:end])
        del self._buffer[:end]
        self._framing = None
        self._scanner = None
        return Frame(document, framing, self._now)


def wrap_reply(document: bytes, framing: Framing | None) -> bytes:
    """Return a reply as it goes over the wire.

    With None (plain, the server's default) and BARE it is the document and a newline. A length counts only
    the document, and nothing follows it.
    """
    if framing is Framing.LENGTH_LINE:
        return b"%d\n%b" % (len(document), document)
    if framing is Framing.BINARY_LENGTH:
        return b"%b\n%b" % (len(document).to_bytes(4, "little"), document)
    if framing is Framing.BINARY_LENGTH_ALONE:
        return len(document).to_bytes(4, "little") + document
    return document + b"\n"
