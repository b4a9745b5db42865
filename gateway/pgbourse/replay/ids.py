"""The ids that orders have in an original, and in the exchange where they are placed again."""

from array import array
from bisect import bisect_left

__all__ = ["Ids"]


class Ids:
    """A map from ids to ids, of which both ascend: 16 bytes an order."""

    def __init__(self) -> None:
        self._originals = array("q")
        self._copies = array("q")

    def __len__(self) -> int:
        return len(self._originals)

    def add(self, original: int, copy: int) -> None:
        """Note the next order's two ids."""
        self._originals.append(original)
        self._copies.append(copy)

    def get(self, original: int) -> int | None:
        """Return the id that the order has in the copy, or None if it isn't there."""
        return _find(self._originals, self._copies, original)

    def original(self, copy: int) -> int | None:
        """Return the id that an order of the copy had in the original, or None if there was none."""
        return _find(self._copies, self._originals, copy)


def _find(keys: "array[int]", values: "array[int]", key: int) -> int | None:
    place = bisect_left(keys, key)
    return values[place] if place < len(keys) and keys[place] == key else None
