"""The last updates of a symbol, as all who follow it are sent them."""

from collections import deque

__all__ = ["Piece", "Ring"]


class Piece:
    """Updates of a symbol that follow each other, as bytes."""

    __slots__ = ("_ends", "data", "first", "last")

    def __init__(self, first: int, data: bytes, ends: list[int]) -> None:
        """Take the number of the first one, all of them, and where each ends."""
        self.first = first
        self.last = first + len(ends) - 1
        self.data = data
        self._ends = ends

    def since(self, seq: int) -> bytes:
        """Return those from this number on: all of them, some, or none."""
        if seq <= self.first:
            return self.data
        return self.data[self._ends[min(seq - self.first, len(self._ends)) - 1] :]


class Ring:
    """Pieces without a gap between them: the last ones, up to so many bytes, the newest always."""

    def __init__(self, next_seq: int) -> None:
        self.next = next_seq  # the number of the update that follows the newest one here
        self.begin = 0  # pieces have places: that of the oldest one here,
        self.end = 0  # and that of the next one to come
        self._pieces: deque[Piece] = deque()
        self.size = 0  # bytes

    @property
    def first(self) -> int:
        """The number of the oldest update here; of the next one, where there is none."""
        return self._pieces[0].first if self._pieces else self.next

    def add(self, piece: Piece, most: int) -> None:
        """Take in the next piece, and forget old ones that are beyond so many bytes in all."""
        pieces = self._pieces
        pieces.append(piece)
        self.end += 1
        self.next = piece.last + 1
        self.size += len(piece.data)
        while self.size > most and len(pieces) > 1:
            self.size -= len(pieces.popleft().data)
            self.begin += 1

    def place_of(self, seq: int) -> int:
        """Return the place of the piece that has this update, or of the next one to come; -1 if it is gone.

        The newest pieces are looked at first.
        """
        if seq < self.first:
            return -1
        place = self.end
        for piece in reversed(self._pieces):
            if piece.last < seq:
                break
            place -= 1
        return place

    def piece(self, place: int) -> Piece:
        """Return the piece in this place, which must be between `begin` and `end`."""
        return self._pieces[place - self.begin]
