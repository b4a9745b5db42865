"""How many documents and bytes have passed a place: plain numbers with one writer each, so no lock."""

from collections.abc import Iterable

from pgbourse.wire.framing import Frame

__all__ = ["Count"]


class Count:
    """Documents, and their bytes, that one thread has counted. Any thread may read it."""

    __slots__ = ("documents", "size")

    def __init__(self) -> None:
        self.documents = 0
        self.size = 0

    def add(self, documents: int, size: int) -> None:
        """Count so many documents, and their bytes."""
        self.documents += documents
        self.size += size

    def add_frames(self, frames: Iterable[Frame], times: int = 1) -> None:
        """Count these documents; with -1 times, take them off the count."""
        for frame in frames:
            self.add(times, times * len(frame.document))
