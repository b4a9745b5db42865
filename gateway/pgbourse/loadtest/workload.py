"""What a load test sends: accounts and symbols first, then documents in a mix, all from one seed.

Documents are made beforehand, so that sending costs the load tool as little as possible. Only the ids of
orders to query or cancel are filled in when a document is sent, because the server chooses them.
"""

import itertools
import random
import re
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal

__all__ = ["Draw", "Feeder", "Template", "Workload", "fresh_account", "fresh_prefix"]

_MID_PRICE = 100
_TICK = Decimal("0.25")
_MAX_SHARES = 99  # of one order
_BALANCE = 1_000_000_000
_GRANT = 10_000_000
_SETUP_ACCOUNTS = 50  # in one <create>, each with every symbol
_LEAST_DOCUMENTS = 64
_POOL_DOCUMENTS = 4096  # enough that cycling through them looks the same as never repeating
_POOL_ORDERS = 200_000  # bounds the pool's memory to some 20 MB
_MARKET_DOCUMENTS, _MAKER_DOCUMENTS = 5, 3  # of five documents three quote, the others take
_REMEMBERED = 64  # order ids an account can query or cancel; older ones are mostly filled

_OPENED_ID = re.compile(rb'<opened\b[^>]*?\sid="([0-9]+)"')


@dataclass(frozen=True, slots=True)
class Workload:
    """A mix of documents. `queries` and `cancels` are fractions of the requests, 0 to 1."""

    orders: int = 1  # requests in a document
    accounts: int = 1000
    symbols: int = 10
    spread: float = 5.0  # prices lie within 100 - spread and 100 + spread, in quarters
    queries: float = 0.0
    cancels: float = 0.0
    makers: int = 0  # if not 0, so many accounts quote and the others take: see Market
    requotes: bool = False  # makers cancel an older order of theirs with each document
    seed: int = 1
    first_account: int = 1000
    symbol_prefix: str = "S"

    @property
    def asks_back(self) -> bool:
        """Whether documents name orders by the server's ids."""
        return self.queries + self.cancels > 0 or self.requotes

    def account_ids(self) -> list[str]:
        """Return the accounts, as the protocol writes them."""
        return [str(self.first_account + number) for number in range(self.accounts)]

    def syms(self) -> list[str]:
        """Return the symbols."""
        return [f"{self.symbol_prefix}{number}" for number in range(self.symbols)]

    def setup_documents(self) -> Iterator["tuple[bytes, Template]"]:
        """Give the <create> documents that provide each account with money and shares."""
        accounts = self.account_ids()
        for start in range(0, len(accounts), _SETUP_ACCOUNTS):
            some = accounts[start : start + _SETUP_ACCOUNTS]
            made = "".join(f'<account id="{account}" balance="{_BALANCE}"/>' for account in some)
            granted = "".join(f'<account id="{account}">{_GRANT}</account>' for account in some)
            symbols = "".join(f'<symbol sym="{sym}">{granted}</symbol>' for sym in self.syms())
            document = f"<create>{made}{symbols}</create>".encode()
            yield document, Template.fixed("", document, len(some) * (1 + self.symbols))


class Draw:
    """Draw requests of a workload, one after the other."""

    def __init__(self, workload: Workload, rng: random.Random) -> None:
        self._workload = workload
        self._rng = rng
        self._syms = workload.syms()
        steps = int(Decimal(str(workload.spread)) / _TICK)
        self._limits = [f"{_MID_PRICE + _TICK * step:.2f}" for step in range(-steps, steps + 1)]

    def kind(self) -> str:
        """Draw 'order', 'query' or 'cancel', in the workload's proportions."""
        drawn = self._rng.random()
        if drawn < self._workload.queries:
            return "query"
        return "cancel" if drawn < self._workload.queries + self._workload.cancels else "order"

    def order(self) -> tuple[str, int, str]:
        """Draw an order: symbol, shares (negative to sell), limit."""
        rng = self._rng
        shares = rng.randint(1, _MAX_SHARES) * rng.choice((1, -1))
        return rng.choice(self._syms), shares, rng.choice(self._limits)

    def quote(self, sym: str, side: int) -> tuple[str, int, str]:
        """Draw an order that rests, 1 to buy and -1 to sell: quotes never cross."""
        middle = len(self._limits) // 2
        limits = self._limits[:middle] if side > 0 else self._limits[middle + 1 :]
        return sym, side * self._rng.randint(1, _MAX_SHARES), self._rng.choice(limits)

    def take(self) -> tuple[str, int, str]:
        """Draw an order that trades with the best quotes, because its limit is the worst possible one."""
        side = self._rng.choice((1, -1))
        limit = self._limits[-1] if side > 0 else self._limits[0]
        return self._rng.choice(self._syms), side * self._rng.randint(1, _MAX_SHARES), limit


class Market:
    """Deal documents to market makers and to takers.

    The makers take turns, and each goes through every symbol on both sides, in its own order. Three documents
    in five are theirs, so that there is always something to take. If all accounts are makers, all take as
    well: the same orders, from evenly spread accounts.
    """

    def __init__(self, workload: Workload, draw: Draw, rng: random.Random) -> None:
        accounts = workload.account_ids()
        self._draw = draw
        self._rng = rng
        self._takers = accounts[workload.makers :] or accounts
        self._turns = itertools.cycle(range(_MARKET_DOCUMENTS))
        quotes = [(sym, side) for sym in workload.syms() for side in (1, -1)]
        self._makers = itertools.cycle(
            [
                (account, itertools.cycle(rng.sample(quotes, len(quotes))))
                for account in accounts[: workload.makers]
            ]
        )

    def deal(self) -> tuple[str, Callable[[], tuple[str, int, str]], bool]:
        """Return the next document's account, a function that draws its orders, and whether it quotes."""
        if next(self._turns) < _MAKER_DOCUMENTS:
            account, quotes = next(self._makers)
            return account, lambda: self._draw.quote(*next(quotes)), True
        return self._rng.choice(self._takers), self._draw.take, False


@dataclass(frozen=True, slots=True)
class Template:
    """A document of one account. `parts` is the text between the order ids that it names."""

    account: str
    parts: tuple[bytes, ...]
    cancels: tuple[bool, ...]  # for each id, whether to cancel it rather than query it
    plain: bytes  # the same with orders instead, for an account that knows too few ids
    requests: int

    @classmethod
    def fixed(cls, account: str, document: bytes, requests: int) -> "Template":
        """Return the template of a document without order ids to fill in."""
        return cls(account, (document,), (), document, requests)


class Feeder:
    """Give documents without end, and learn from the replies which orders exist."""

    def __init__(self, workload: Workload) -> None:
        self.workload = workload
        rng = random.Random(workload.seed)
        draw = Draw(workload, rng)
        accounts = workload.account_ids()
        size = max(_LEAST_DOCUMENTS, min(_POOL_DOCUMENTS, _POOL_ORDERS // workload.orders))
        if workload.makers:
            market = Market(workload, draw, rng)
            dealt = [market.deal() for _ in range(size)]
            self._pool = [
                _template(draw, account, order, workload.orders, requotes=workload.requotes and quotes)
                for account, order, quotes in dealt
            ]
        else:
            self._pool = [
                _template(draw, rng.choice(accounts), draw.order, workload.orders) for _ in range(size)
            ]
        self._next = 0
        self._known: dict[str, deque[bytes]] = {}

    def __iter__(self) -> Iterator[tuple[bytes, Template]]:
        return self

    def __next__(self) -> tuple[bytes, Template]:
        """Return the next document and its template."""
        template = self._pool[self._next]
        self._next = (self._next + 1) % len(self._pool)
        if not template.cancels:
            return template.plain, template
        known = self._known.get(template.account)
        if known is None or len(known) < len(template.cancels):
            return template.plain, template
        pieces = [template.parts[0]]
        for cancel, part in zip(template.cancels, template.parts[1:], strict=True):
            known.rotate()
            pieces += (known.pop() if cancel else known[0], part)
        return b"".join(pieces), template

    def learn(self, template: Template, _document: bytes, reply: bytes) -> None:
        """Remember the orders that a reply calls opened."""
        known = self._known.setdefault(template.account, deque(maxlen=_REMEMBERED))
        known.extend(_OPENED_ID.findall(reply))


def fresh_account() -> int:
    """Draw a first account number that is unlikely to be in use, and fits into 31 bits, for other servers."""
    return random.SystemRandom().randrange(1_000_000, 2_000_000_000)


def fresh_prefix(first_account: int) -> str:
    """Return four letters for the symbols of a run, so that its book starts empty."""
    letters = []
    for _ in range(4):
        first_account, digit = divmod(first_account, 26)
        letters.append(chr(ord("A") + digit))
    return "".join(letters)


def _template(
    draw: Draw,
    account: str,
    draw_order: Callable[[], tuple[str, int, str]],
    requests: int,
    *,
    requotes: bool = False,
) -> Template:
    """Make a document of so many requests; one that requotes cancels an order first."""
    head, tail = f'<transactions id="{account}">', "</transactions>"
    asking, plain = head, head
    cancels = []
    for place in range(requests):
        kind = "cancel" if requotes and place == 0 else draw.kind()
        sym, shares, limit = draw_order()
        order = f'<order sym="{sym}" amount="{shares}" limit="{limit}"/>'
        plain += order
        if kind == "order":
            asking += order
        else:
            asking += f'<{kind} id="\0"/>'
            cancels.append(kind == "cancel")
    parts = (asking + tail).encode().split(b"\0")
    return Template(account, tuple(parts), tuple(cancels), (plain + tail).encode(), requests)
