"""What a load test sends: accounts and symbols first, then documents in a mix, all from one seed.

Documents are made beforehand, so that sending costs the load tool as little as possible. Only the ids of
orders to query, cancel, … and new refs are filled in when a document is sent.
"""

import itertools
import random
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from pgbourse.loadtest.templates import FEATURES, NAMING, Draft, KnownOrder, Template, write_request

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
_REMEMBERED = 64  # orders that an account can query or cancel; older ones are mostly filled

# An order that may rest: one that never does tells what it has executed at once. Its sign, and its id.
_OPENED = re.compile(rb'<opened\b(?![^>]*?\sexecuted=)(?=[^>]*?\samount="(-?)|)[^>]*?\sid="([0-9]+)"')
# Orders that were cancelled with all of an account, or passed by one that prevents self-trades.
_GONE = re.compile(rb'<order id="([0-9]+)" shares=|\spassed="([0-9 ]+)"')


@dataclass(frozen=True, slots=True)
class Workload:
    """A mix of documents. `queries` and `cancels` are fractions of the requests, 0 to 1.

    Instead of them, `mix` may say how often each kind of request is drawn: see templates.KINDS.
    """

    orders: int = 1  # requests in a document
    accounts: int = 1000
    symbols: int = 10
    spread: float = 5.0  # prices lie within 100 - spread and 100 + spread, in quarters
    queries: float = 0.0
    cancels: float = 0.0
    mix: Sequence[tuple[str, float]] = ()
    refs: str = ""  # if not empty, orders and replaces have refs, which begin so
    makers: int = 0  # if not 0, so many accounts quote and the others take: see Market
    requotes: bool = False  # makers cancel an older order of theirs with each document
    seed: int = 1
    first_account: int = 1000
    symbol_prefix: str = "S"

    @property
    def asks_back(self) -> bool:
        """Whether documents name orders by the server's ids."""
        named = self.queries + self.cancels > 0 or any(kind in NAMING for kind, _ in self.mix)
        return named or self.requotes

    def features(self) -> set[str]:
        """Return what a server must know beyond the base protocol."""
        kinds = {FEATURES[kind] for kind, weight in self.mix if weight and kind in FEATURES}
        return kinds | ({"ref"} if self.refs else set())

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
        self._kinds = [kind for kind, _ in workload.mix]
        self._weights = list(itertools.accumulate(weight for _, weight in workload.mix))

    def kind(self) -> str:
        """Draw a kind of request, in the workload's proportions."""
        if self._kinds:
            return self._rng.choices(self._kinds, cum_weights=self._weights)[0]
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
                _template(draw, account, order, workload, requotes=workload.requotes and quotes)
                for account, order, quotes in dealt
            ]
        else:
            self._pool = [_template(draw, rng.choice(accounts), draw.order, workload) for _ in range(size)]
        self._next = 0
        self._known: dict[str, deque[KnownOrder]] = {}
        self._refs = itertools.count(1)

    def __iter__(self) -> Iterator[tuple[bytes, Template]]:
        return self

    def __next__(self) -> tuple[bytes, Template]:
        """Return the next document and its template."""
        template = self._pool[self._next]
        self._next = (self._next + 1) % len(self._pool)
        if not template.asking.holes:
            return template.asking.parts[0], template
        known = self._known.get(template.account, _NONE)
        draft = template.asking if len(known) >= template.asking.orders else template.plain
        return draft.fill(known, self._new_ref), template

    def learn(self, template: Template, _document: bytes, reply: bytes) -> None:
        """Remember the orders that a reply calls opened, and forget those that went with others."""
        known = self._known.setdefault(template.account, deque(maxlen=_REMEMBERED))
        known.extend((order_id, sign) for sign, order_id in _OPENED.findall(reply))
        if gone := {
            order_id for all_, passed in _GONE.findall(reply) for order_id in (all_, *passed.split())
        }:
            left = [order for order in known if order[0] not in gone]
            known.clear()
            known.extend(left)

    def _new_ref(self) -> bytes:
        return b"%b-%d" % (self.workload.refs.encode(), next(self._refs))


_NONE: deque[KnownOrder] = deque()


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
    workload: Workload,
    *,
    requotes: bool = False,
) -> Template:
    """Make a document of a workload; one that requotes cancels an order first."""
    head, tail = f'<transactions id="{account}">', "</transactions>"
    asking, plain = head, head
    refs = bool(workload.refs)
    for place in range(workload.orders):
        kind = "cancel" if requotes and place == 0 else draw.kind()
        order = draw_order()
        written = write_request(kind, *order, refs=refs)
        asking += written
        plain += write_request("order", *order, refs=refs) if kind in NAMING else written
    return Template(account, Draft.read(asking + tail), Draft.read(plain + tail), workload.orders)
