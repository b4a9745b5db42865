"""Streams of framed documents, cut into pieces in many ways: for the tests of framing."""

import itertools
from collections.abc import Iterable, Iterator

from pgbourse.wire.framing import Frame, Framer, Framing

LIMIT = 20_000_000  # more than a binary length can say

LINE, BARE = Framing.LENGTH_LINE, Framing.BARE
BINARY, ALONE = Framing.BINARY_LENGTH, Framing.BINARY_LENGTH_ALONE


def line(document: bytes, newline: bytes = b"\n") -> bytes:
    return b"%d%b%b" % (len(document), newline, document)


def binary(document: bytes) -> bytes:
    return len(document).to_bytes(4, "little") + b"\n" + document


def alone(document: bytes) -> bytes:
    return len(document).to_bytes(4, "little") + document


def outcome(pieces: Iterable[bytes], limit: int = LIMIT) -> tuple[list[Frame], str | None]:
    """Feed the pieces and the end of the input; return all frames and the error's text."""
    framer = Framer(limit)
    frames = [frame for piece in pieces for frame in framer.feed(piece)] + framer.finish()
    return frames, None if framer.error is None else str(framer.error)


def cut(stream: bytes, places: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted(places), len(stream)]
    return [stream[start:end] for start, end in itertools.pairwise(edges)]


def every_cut(stream: bytes, most: int) -> Iterator[list[bytes]]:
    """Every way to cut the stream into at most so many pieces, and into single bytes."""
    for pieces in range(1, most + 1):
        for places in itertools.combinations(range(1, len(stream)), pieces - 1):
            yield cut(stream, places)
    yield cut(stream, range(1, len(stream)))
