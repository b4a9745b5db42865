"""Find where a request begins and which framing it has, from at most its first eight bytes.

docs/protocol.md describes the four framings. Text never has a NUL where a length has its fourth byte. But
NULs separate requests, like white space, and UTF-16 is half NULs: most of this module is about lengths that
look like one of these.
"""

import re
from enum import Enum, auto

from pgbourse.errors import PgbourseError

__all__ = ["SEPARATORS", "FrameError", "Framing", "find_request"]


class Framing(Enum):
    """How a client marks where its document ends."""

    LENGTH_LINE = auto()  # decimal byte count, newline, document
    BINARY_LENGTH = auto()  # 4 bytes little-endian, newline, document
    BINARY_LENGTH_ALONE = auto()  # 4 bytes little-endian, document
    BARE = auto()  # the document alone, up to the end of its root element


class FrameError(PgbourseError):
    """The input can't be cut into documents, and nothing after it can be understood."""


# What may stand between requests: white space, and the NUL with which C ends a string.
SEPARATORS = b"\0 \t\r\n"
_RUN = re.compile(rb"[\0 \t\r\n]{1,1000}")  # bounded, because these bytes may be looked at again

# UTF-8 without and with a byte order mark, UTF-16 with and without. All of it shows in the first four bytes.
# A NUL and a "<" are UTF-16 only if another NUL and a character follow: else the NUL is a separator.
_BARE = re.compile(rb"<|\xef\xbb\xbf[ \t\r\n<]|\xff\xfe[ \t\r\n<]\0|\xfe\xff\0[ \t\r\n<]|\0<\0[^\0]")

# What can follow a length: a newline, or the beginning of a document.
_FIFTH_BYTES = b"\n<\xef\xff\xfe \t\r"
# If a length can be taken for something else, its first byte is one of these.
_AMBIGUOUS = b"\0 \t\r\n<\xff"

# What looks like a length but is text and separators: no document begins like what would follow it.
_NO_LENGTH = (
    # UTF-16LE: a mark and white space, white space alone, a name of one letter.
    rb"(?:\xff\xfe[ \t\r\n]|[ \t\r\n]\0[ \t\r\n]|<\0[^\0])\0\n\0"
    # UTF-16BE: its mark, after a separator.
    rb"|[\0 \t\r\n]\xfe\xff\0"
    # Two or three separators and a length.
    rb"|[\0 \t\r\n]{2}[\s\S]\0\n\0[\n<\xef\xff\xfe]"
    rb"|[\0 \t\r\n]{3}\0[\n<][\s\S]\0[\n<\xef\xff\xfe]"
    # Lines that end in a NUL.
    rb"|[ \t\r\n]{3}\0\n"
    rb"|([ \t\r\n])\0\1\0\n"
)
_LENGTH_AND_NEWLINE = re.compile(rb"(?!%b)[\s\S]{3}\0\n" % _NO_LENGTH)
# Without a newline: UTF-16 has its mark, and what is all separators is no length of 512 KiB or more, nor one
# that white space follows; nor are a newline and a NUL of UTF-16, before the mark of the next document.
_LENGTH_ALONE = re.compile(
    rb"(?!%b|[\0 \t\r\n]{2}[ \t\r\n]\0|[\0 \t\r\n]{4}[ \t\r]|[ \t\r\n]\0\0\0\xff\xfe|\0[ \t\r\n]\0\0\xfe\xff)"
    rb"[\s\S]{3}\0"
    rb"(?:[< \t\r][^\0]|\xef\xbb\xbf|\xff\xfe[ \t\r\n<]\0|\xfe\xff\0[ \t\r\n<])" % _NO_LENGTH
)
# A length and its newline of which every byte is a separator. A length of 0 does not follow a NUL.
_LENGTH_AMID_SEPARATORS = re.compile(rb"(?=[\s\S]{3}\0\n)(?:(?<=[^\0])|(?!\0{4}))(?!%b)" % _NO_LENGTH)


def find_request(
    buffer: bytearray, *, after_nul: bool, after_utf16le: bool, finished: bool
) -> tuple[int, Framing | None]:
    """Return where the next request begins in what was received, and its framing; before it are separators.

    The framing is None while too little was received to tell; `finished` means that no more will come. The
    flags say what came before the buffer: a NUL that was skipped, a bare document in UTF-16LE.

    Raises FrameError when no request can begin so.
    """
    at = 0
    while True:
        follows_nul = buffer[at - 1] == 0 if at else after_nul
        framing, is_decided = _binary_framing(buffer, at, follows_nul, finished)
        if framing is not None:
            return at, framing
        if at == len(buffer) or not is_decided:
            return at, None
        if buffer[at] in b"0123456789":
            return at, Framing.LENGTH_LINE
        if _BARE.match(buffer, at) and not (after_utf16le and buffer[at] == 0):
            return at, Framing.BARE
        run = _RUN.match(buffer, at)
        if run is None:
            shown = repr(bytes(buffer[at : at + 4]))[1:]
            raise FrameError(
                f"a request can't begin with {shown}: it begins with its length (decimal digits and a "
                "newline, or 4 bytes little-endian) or with the < of its XML"
            )
        # A length can begin within the run or, with bytes of its own behind it, in its last four places.
        length = _LENGTH_AMID_SEPARATORS.search(buffer, at + 1, run.end())
        at = max(at + 1, run.end() - 4) if length is None else length.start()


def _binary_framing(
    buffer: bytearray, at: int, follows_nul: bool, finished: bool
) -> tuple[Framing | None, bool]:
    """Return the framing if a binary length stands at `at`, and whether that is certain.

    A length below 16 MiB has a NUL as its fourth byte.
    """
    received = len(buffer) - at
    if received >= 4 and buffer[at + 3] != 0:
        return None, True
    if received < 5:
        return None, finished
    fifth = buffer[at + 4]
    framing = Framing.BINARY_LENGTH if fifth == 0x0A else Framing.BINARY_LENGTH_ALONE
    if fifth not in _FIFTH_BYTES:
        return None, True
    if buffer[at] not in _AMBIGUOUS:
        return framing, True
    if not any(buffer[at : at + 4]):  # four NULs and a newline are an empty document; more NULs separate
        return (framing if fifth == 0x0A and not follows_nul else None), True
    pattern = _LENGTH_AND_NEWLINE if fifth == 0x0A else _LENGTH_ALONE
    if received < 8 and not finished:  # such a length is 9 and more: more bytes will come
        return None, False
    return (framing if pattern.match(buffer, at) else None), True
