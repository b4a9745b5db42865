"""Cut a connection's bytes into XML documents, and wrap replies: a pure state machine without sockets or XML.

The three framings and how they are told apart are described in docs/protocol.md.
"""

import re
from dataclasses import dataclass, field
from enum import Enum, auto

from pgbourse.errors import PgbourseError
from pgbourse.wire.bare import BareScanner

__all__ = ["Frame", "FrameError", "Framer", "Framing", "wrap_reply"]


class Framing(Enum):
    """How a client marks where its document ends."""

    LENGTH_LINE = auto()  # decimal byte count, newline, document
    BINARY_LENGTH = auto()  # 4 bytes little-endian, newline, document
    BARE = auto()  # the document alone, up to the end of its root element


@dataclass(frozen=True, slots=True)
class Frame:
    """A complete document, not yet looked into, and the framing that it came in."""

    document: bytes
    framing: Framing
    received: float = field(default=0.0, compare=False)  # when it was complete, by the clock of `feed`


class FrameError(PgbourseError):
    """What was received can't be cut into documents; nothing that follows it can be understood."""


_WHITE = b" \t\r\n"
_SPACE = re.compile(rb"[ \t\r\n]+")
# A UTF-16 document's trailing newline is UTF-16 as well: one code unit, by the place of its low byte.
_UTF16_SPACE = {0: re.compile(rb"[ \t\r\n]\0?"), 1: re.compile(rb"\0?[ \t\r\n]")}

# What looks like a binary length and is none, since no document begins like what would come after it:
# UTF-16LE (a mark and white space, white space alone, a name of one letter), and white space before a binary
# length.
_LOOKALIKE = re.compile(
    rb"(?:\xff\xfe[ \t\r\n]|[ \t\r\n]\0[ \t\r\n]|<\0[^\0])\0\n\0"
    rb"|[ \t\r\n]{2}[\s\S]\0\n\0\n"
    rb"|[ \t\r\n]{3}\0\n[\s\S]\0\n"
)

_LENGTH_LINE = re.compile(rb"([0-9]{1,20})\r?\n")
_LENGTH_LINE_START = re.compile(rb"[0-9]{1,20}\r?")

# UTF-8 without and with a BOM, UTF-16 with and without. All of it shows in the first four bytes.
_BARE_START = re.compile(
    rb"<|\xef\xbb\xbf[ \t\r\n<]|\xff\xfe[ \t\r\n<]\0|\xfe\xff\0[ \t\r\n<]|\0<",
)


class Framer:
    """Cut one connection's input into documents.

    However the input is cut into pieces, the documents and the error are the same. What is held is at most
    one document of the allowed size, and what little comes before it.
    """

    def __init__(self, max_document_bytes: int) -> None:
        """Accept documents of up to `max_document_bytes`, those with a binary length below 16 MiB only."""
        self._max = max_document_bytes
        self._buffer = bytearray()
        self._now = 0.0
        self._framing: Framing | None = None  # of the document being received; None between documents
        self._length = 0  # of the document being received, where its framing tells
        self._scanner: BareScanner | None = None
        self._utf16_low_byte: int | None = None  # the last document was bare UTF-16; as in BareScanner
        self._finished = False
        self.error: FrameError | None = None

    @property
    def mid_frame(self) -> bool:
        """Whether a request has begun and is not complete; white space alone begins none."""
        if self._framing is not None:
            return True
        return bool(self._buffer.strip(_WHITE if self._utf16_low_byte is None else _WHITE + b"\0"))

    @property
    def buffered(self) -> int:
        """How many received bytes are held."""
        return len(self._buffer)

    def feed(self, data: bytes | bytearray | memoryview, now: float = 0.0) -> list[Frame]:
        """Take received bytes and return the documents that they complete, in order, with the time `now`.

        Never raises. `error` is set when what follows these documents can't be a request; from then on all
        input is ignored.

        Fewer than four bytes decide nothing: `0` and a newline may as well begin a binary length.
        """
        if self.error is not None or self._finished:
            return []
        self._now = now
        self._buffer += data
        return self._frames()

    def finish(self) -> list[Frame]:
        """Take the end of the input and return the documents that it completes, in order.

        Sets `error` when a request had begun and is not complete.
        """
        if self.error is not None or self._finished:
            return []
        self._finished = True
        frames = self._frames()
        if self.error is None and self.mid_frame:
            there = str(len(self._buffer))
            if self._framing is not None and self._scanner is None:
                there += f" of {self._length}"
            self._fail(FrameError(f"the input ended within a request, after {there} bytes of it"))
        return frames

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
        """Find out the framing of the next request; False while there is too little to tell."""
        buffer = self._buffer
        at, is_binary = self._skip_space()
        del buffer[:at]
        if is_binary is None or not buffer:
            return False
        if is_binary:
            self._begin_sized(Framing.BINARY_LENGTH, int.from_bytes(buffer[:4], "little"), 5)
        elif buffer[0] in b"0123456789":
            match = _LENGTH_LINE.match(buffer)
            if match is None:
                return self._await_length_line()
            self._begin_sized(Framing.LENGTH_LINE, int(match.group(1)), match.end())
        elif _BARE_START.match(buffer):
            self._framing = Framing.BARE
            self._scanner = BareScanner(buffer)
            self._utf16_low_byte = self._scanner.utf16_low_byte
        else:
            raise FrameError(
                f"a request can't begin with {_shown(buffer[:4])}: it begins with its length (decimal digits "
                "and a newline, or 4 bytes little-endian and a newline) or with the < of its XML"
            )
        return True

    def _skip_space(self) -> tuple[int, bool | None]:
        """Return where the next request begins, and whether with a binary length (None: too little to tell).

        White space may as well be the low bytes of a binary length, so each place is tried for one first.
        """
        buffer = self._buffer
        at = 0
        while True:
            is_binary = _binary_length_at(buffer, at)
            if is_binary is None and self._finished:
                is_binary = False
            if is_binary is not False:
                return at, is_binary
            if self._utf16_low_byte is None:
                match = _SPACE.match(buffer, at)
                if match is None:
                    return at, False
                # Of a run only the last three places are left: a length's fourth byte is no white space.
                at = max(at + 1, match.end() - 3)
            else:
                match = _UTF16_SPACE[self._utf16_low_byte].match(buffer, at)
                if match is None:
                    return at, False
                at = match.end()

    def _begin_sized(self, framing: Framing, length: int, header: int) -> None:
        if length > self._max:
            raise FrameError(f"a document of {length} bytes is over the limit of {self._max} bytes")
        del self._buffer[:header]
        self._framing = framing
        self._length = length
        self._utf16_low_byte = None

    def _await_length_line(self) -> bool:
        match = _LENGTH_LINE_START.match(self._buffer)
        assert match is not None  # it begins with a digit
        if match.end() < len(self._buffer):
            raise FrameError(
                f"a length line can't begin with {_shown(self._buffer[: match.end() + 1])}: it is 1 to 20 "
                "decimal digits and a newline"
            )
        return False

    def _complete(self) -> Frame | None:
        """Take the document whose framing is known from the buffer, if all of it is there."""
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


def _binary_length_at(buffer: bytearray, at: int) -> bool | None:
    """Tell whether a 4-byte length and its newline stand at `at`; None while there is too little to tell.

    A length below 16 MiB has a NUL as its fourth byte, and text has none before a newline but by _LOOKALIKE.
    """
    there = len(buffer) - at
    if there >= 4 and buffer[at + 3] != 0:
        return False
    if there < 5:
        return None
    if buffer[at + 4] != 0x0A:
        return False
    if buffer[at] not in b" \t\r\n<\xff":
        return True
    if there < 8:  # such a length is 9 and more: more bytes will come
        return None
    return _LOOKALIKE.match(buffer, at) is None


def _shown(data: bytes | bytearray) -> str:
    return repr(bytes(data))[1:]


def wrap_reply(document: bytes, framing: Framing | None) -> bytes:
    """Return a reply as it goes over the wire.

    None (plain, the server's default) and BARE: the document and a newline. A length counts the document
    alone, and nothing stands after that.
    """
    if framing is Framing.LENGTH_LINE:
        return b"%d\n%b" % (len(document), document)
    if framing is Framing.BINARY_LENGTH:
        return b"%b\n%b" % (len(document).to_bytes(4, "little"), document)
    return document + b"\n"
