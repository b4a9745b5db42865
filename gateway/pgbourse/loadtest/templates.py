"""Documents with holes, for what is known only when they are sent: the server's ids of orders, and new refs.

Also how each kind of request is written that a load can be mixed of.
"""

import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import Final

__all__ = ["FEATURES", "KINDS", "NAMING", "Draft", "Hole", "KnownOrder", "Template", "write_request"]

KINDS: Final = (
    *("order", "ioc", "fok", "post", "stp", "market", "replace", "reduce", "query", "cancel"),
    *("cancel-all", "arm", "disarm", "account", "orders", "book"),
)
# What a server must know for them beyond the base protocol, in the words of <server/>.
FEATURES: Final = {
    "ioc": "tif",
    "fok": "tif",
    "post": "post",
    "stp": "stp",
    "market": "market",
    "replace": "replace",
    "reduce": "reduce",
    "cancel-all": "cancel-all",
    "arm": "cancel-after",
    "disarm": "cancel-after",
    "account": "account",
    "orders": "orders",
    "book": "book",
}
NAMING: Final = frozenset({"replace", "reduce", "query", "cancel"})  # those that name an earlier order

_STP: Final = ("taker", "maker", "both")
_ARMED: Final = 86_000  # seconds at least, nearly a day: no switch fires while a load runs

KnownOrder = tuple[bytes, bytes]  # the id of an order that a reply called opened, and "-" if it sells


class Hole(Enum):
    """What is filled into a document. The value stands for it in the text of a draft."""

    ORDER = "\0"  # the id of an order
    ENDED = "\1"  # the same, of an order that is not named again
    REPLACED = "\2"  # the same, and what begins an amount of its side
    REF = "\3"  # a new ref


_HOLES = re.compile("([\0-\3])")


@dataclass(frozen=True, slots=True)
class Draft:
    """A document: `parts` is the text between its holes."""

    parts: tuple[bytes, ...]
    holes: tuple[Hole, ...] = ()

    @classmethod
    def read(cls, text: str) -> "Draft":
        """Return the draft of a text in which the values of holes stand for them."""
        pieces = _HOLES.split(text)
        return cls(tuple(part.encode() for part in pieces[::2]), tuple(map(Hole, pieces[1::2])))

    @property
    def orders(self) -> int:
        """Return how many earlier orders it names."""
        return sum(hole is not Hole.REF for hole in self.holes)

    def fill(self, known: deque[KnownOrder], new_ref: Callable[[], bytes]) -> bytes:
        """Return the document. It names known orders in turn; those that it ends are known no more."""
        pieces = [self.parts[0]]
        for hole, part in zip(self.holes, self.parts[1:], strict=True):
            if hole is Hole.REF:
                pieces += (new_ref(), part)
                continue
            known.rotate()
            order_id, sign = known[0] if hole is Hole.ORDER else known.pop()
            pieces += (order_id, b'" amount="' + sign if hole is Hole.REPLACED else b"", part)
        return b"".join(pieces)


@dataclass(frozen=True, slots=True)
class Template:
    """A document of one account, and what is sent while that knows too few orders to name."""

    account: str
    asking: Draft
    plain: Draft  # the same with orders instead
    requests: int

    @classmethod
    def fixed(cls, account: str, document: bytes, requests: int) -> "Template":
        """Return the template of a document without holes."""
        draft = Draft((document,))
        return cls(account, draft, draft, requests)


def write_request(kind: str, sym: str, shares: int, limit: str, *, refs: bool) -> str:
    """Write a request of one of the KINDS; it makes use of what an order of that draw would say."""
    ref = f' ref="{Hole.REF.value}"' if refs else ""
    order = f'<order sym="{sym}" amount="{shares}"'
    only = f' sym="{sym}"' if shares > 0 else ""
    match kind:
        case "ioc" | "fok":
            return f'{order} limit="{limit}"{ref} tif="{kind.upper()}"/>'
        case "post":
            return f'{order} limit="{limit}"{ref} post="true"/>'
        case "stp":
            return f'{order} limit="{limit}"{ref} stp="{_STP[shares % 3]}"/>'
        case "market":
            budget = f' budget="{shares * Decimal(limit)}"' if shares > 0 else ""
            return f'{order} type="market"{budget}{ref}/>'
        case "replace":
            # The hole ends within the amount, for it has to be of the old order's side.
            return f'<replace id="{Hole.REPLACED.value}{abs(shares)}" limit="{limit}"{ref}/>'
        case "reduce":
            return f'<reduce id="{Hole.ORDER.value}" to="{1 + abs(shares) // 4}"/>'
        case "query":
            return f'<query id="{Hole.ORDER.value}"/>'
        case "cancel":
            return f'<cancel id="{Hole.ENDED.value}"/>'
        case "cancel-all":
            return f'<cancel all="true"{only}/>'
        case "arm":
            return f'<cancel all="true" after="{_ARMED + abs(shares)}"/>'
        case "disarm":
            return '<cancel all="true" after="0"/>'
        case "account":
            return "<account/>"
        case "orders":
            return f'<orders{only} max="{abs(shares)}"/>'
        case "book":
            return f'<book sym="{sym}" depth="{abs(shares)}"/>'
        case _:
            return f'{order} limit="{limit}"{ref}/>'
