"""Recognise replies as they arrive, without parsing: where one ends, what is none, how many results."""

import re
from typing import Final

__all__ = ["ENDS", "count_results", "excerpt", "is_complete", "problem", "without_length"]

ENDS: Final = (b"</results>\n", b"</results>", b"<results/>\n", b"<results/>")
_TAIL_BYTES: Final = 64  # to search for the end: white space may follow it
_HEAD_BYTES: Final = 64  # to search for the start: a length may precede it
_START = re.compile(rb"<\?xml|<results")  # a lone "<" may be the low byte of a binary length
_MAX_BYTES: Final = 64 * 1024 * 1024
_EXCERPT_BYTES: Final = 40

# A result, and not a part of one: those say neither an id nor all.
_RESULT = re.compile(
    rb"<(?:created|opened|error|status|(?:canceled|reduced)(?=[^>]*?\s(?:id|all)=)"
    rb"|armed|disarmed|account|orders|book|server)\b"
)
# Five printable characters that can begin neither XML nor a length, in any framing.
_GARBAGE = re.compile(rb"\s*(?![0-9<])[!-~]{5}")


def is_complete(received: bytes | bytearray) -> bool:
    """Return whether the bytes end like a reply; white space and NULs may follow."""
    return received[-_TAIL_BYTES:].rstrip(b" \t\r\n\0").endswith(ENDS)


def count_results(reply: bytes) -> int:
    """Count the results in a reply, which has one for each request of the document."""
    return len(_RESULT.findall(reply))


def without_length(reply: bytes) -> bytes:
    """Return a reply's XML, without a length before it or NULs after it."""
    start = _START.search(reply)
    return reply[start.start() if start else 0 :].rstrip(b"\0")


def problem(received: bytes | bytearray) -> str | None:
    """Return what is wrong with a reply that has begun but is not complete, if anything."""
    if _GARBAGE.match(received) or (
        len(received) > _HEAD_BYTES and not _START.search(received, 0, _HEAD_BYTES)
    ):
        return f"the server sent something that is not a reply: {excerpt(received)}"
    if len(received) > _MAX_BYTES:
        return f"the server sent {len(received)} bytes of a reply without an end"
    return None


def excerpt(data: bytes | bytearray) -> str:
    """Return the start of what was received, in printable characters."""
    text = bytes(data[:_EXCERPT_BYTES]).decode("ascii", errors="backslashreplace")
    return ascii(text) + ("…" if len(data) > _EXCERPT_BYTES else "")
