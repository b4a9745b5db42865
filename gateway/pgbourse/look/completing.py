"""What may come next on a line of the shell. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from pgbourse.client.requests import Grant, LookBook, NewAccount, NewSymbol, Order
from pgbourse.client.results import Account, Book, Canceled, CanceledAll, Opened, Orders, Result
from pgbourse.look.completingxml import next_in_xml
from pgbourse.look.usages import USAGES
from pgbourse.look.words import Ask, Command, Make, Tape, Use

__all__ = ["Known", "candidates"]

_MOST_ORDERS = 100  # that are remembered: the latest
_COMMANDS = sorted({usage.split()[0] for usage, _ in USAGES})


@dataclass
class Known:
    """What has been met so far: symbols, accounts, and open orders by id, the latest last."""

    symbols: set[str] = field(default_factory=set)
    accounts: set[str] = field(default_factory=set)
    orders: dict[str, None] = field(default_factory=dict)

    def hear(self, command: Command) -> None:
        """Learn from what somebody typed."""
        match command:
            case Use(account_id):
                self.accounts.add(account_id)
            case Tape(sym):
                self.symbols.add(sym)
            case Ask(items) | Make(items):
                for item in items:
                    match item:
                        case Order(sym=sym) | LookBook(sym=sym) | NewSymbol(sym):
                            self.symbols.add(sym)
                        case NewAccount(account_id):
                            self.accounts.add(account_id)
                        case Grant(sym, account_id):
                            self.symbols.add(sym)
                            self.accounts.add(account_id)

    def learn(self, results: Iterable[Result]) -> None:
        """Learn from what the server answers."""
        for result in results:
            match result:
                case Opened(order_id=order_id, sym=sym):
                    self.symbols.add(sym)
                    self._remember(order_id)
                case Orders(orders):
                    for order in orders:
                        self.symbols.add(order.sym)
                        self._remember(order.order_id)
                case Account(positions=positions):
                    self.symbols.update(position.sym for position in positions)
                case Book(sym=sym):
                    self.symbols.add(sym)
                case Canceled(order_id=order_id):
                    self.orders.pop(str(order_id), None)
                case CanceledAll(orders):
                    for order_id in orders:
                        self.orders.pop(str(order_id), None)

    def _remember(self, order_id: int) -> None:
        self.orders.pop(str(order_id), None)
        self.orders[str(order_id)] = None
        while len(self.orders) > _MOST_ORDERS:
            del self.orders[next(iter(self.orders))]


def candidates(line: str, known: Known) -> tuple[str, list[str]]:
    """Return the word with which a line ends, as far as it is typed, and which words it may become."""
    words = line.replace("@", " @ ").split()
    begun = words.pop() if words and not line[-1:].isspace() and words[-1] != "@" else ""
    if line.lstrip().startswith("#"):
        return "", []
    if "<" in line:
        lists = (sorted(known.symbols), sorted(known.accounts), list(reversed(known.orders)))
        begun, words = next_in_xml(line, *lists)
        return begun, [word for word in words if _fits(word, begun)]
    return begun, [word for word in _next([word.lower() for word in words], known) if _fits(word, begun)]


def _fits(word: str, begun: str) -> bool:
    return word.lower().startswith(begun.lower()) and word != begun


def _next(words: Sequence[str], known: Known) -> Sequence[str]:
    if not words:
        return _COMMANDS
    symbols, accounts = sorted(known.symbols), sorted(known.accounts)
    orders = list(reversed(known.orders))
    match words:
        case ["buy" | "sell" | "orders" | "book" | "tape" | "grant"]:
            return symbols
        case ["buy" | "sell", _, _]:
            return ["@"]
        case ["buy" | "sell", *_, "@" | "at"]:
            return ["market"]
        case ["buy" | "sell" | "replace", *_, "stp"]:
            return ["taker", "maker", "both"]
        case ["buy", _, _, "@" | "at", "market"]:
            return ["budget"]
        case ["buy" | "sell", _, _, "@" | "at", "market", *_]:
            return ["fok", "stp", "ref"]
        case ["buy" | "sell", _, _, "@" | "at", _, *_]:
            return ["ioc", "fok", "post", "stp", "ref"]
        case ["cancel"]:
            return ["all", *orders]
        case ["cancel", "all"]:
            return ["after", *symbols]
        case ["query" | "reduce" | "replace"]:
            return orders
        case ["reduce", _]:
            return ["to", "by"]
        case ["replace", _]:
            return ["with"]
        case ["replace", _, "with"]:
            return ["buy", "sell"]
        case ["replace", _, "with", _, _]:
            return ["@"]
        case ["replace", _, "with", _, _, "@" | "at", _, *_]:
            return ["open", "ioc", "fok", "post", "stp", "ref"]
        case ["create"]:
            return ["account", "symbol"]
        case ["use"] | ["grant", _]:
            return accounts
        case ["help"]:
            return _COMMANDS
    return []
