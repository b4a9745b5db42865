"""The short commands of `pgbourse shell`: one line in, what it asks for out. Pure.

    buy SPY 100 @ 145.5 ioc        ->  Ask((Order("SPY", "100", "145.5", tif="IOC"),))

What is said is only taken apart here. Whether it makes sense, the exchange says best.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from pgbourse.client.requests import (
    ArmSwitch,
    Cancel,
    CancelAll,
    Creation,
    DisarmSwitch,
    Grant,
    ListOrders,
    LookAccount,
    LookBook,
    NewAccount,
    NewSymbol,
    Order,
    Query,
    Reduce,
    Replace,
    Transaction,
)
from pgbourse.errors import PgbourseError
from pgbourse.look.usages import USAGES

__all__ = [
    "Ask",
    "AskServer",
    "Command",
    "Help",
    "Make",
    "Quit",
    "Tape",
    "Use",
    "WordsError",
    "parse",
]

_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?")
_TERMS = "ioc, fok, gtc, post, stp, ref"


class WordsError(PgbourseError):
    """A line is no command. The text says what could stand there."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Requests of the account that is in use, for one document."""

    items: tuple[Transaction, ...]


@dataclass(frozen=True, slots=True)
class Make:
    """Creations, for one document."""

    items: tuple[Creation, ...]


@dataclass(frozen=True, slots=True)
class Tape:
    """The last trades of a symbol."""

    sym: str
    number: int


@dataclass(frozen=True, slots=True)
class Use:
    """Act for another account from now on."""

    account_id: str


@dataclass(frozen=True, slots=True)
class AskServer:
    """What the server says of itself."""


@dataclass(frozen=True, slots=True)
class Help:
    """What can be said, or that of one command."""

    command: str | None = None


@dataclass(frozen=True, slots=True)
class Quit:
    """The end."""


Command: TypeAlias = Ask | Make | Tape | Use | AskServer | Help | Quit


def parse(line: str) -> Command | None:
    """Return what a line asks for; None for an empty one, or one that begins with #.

    Words may be in any case but for symbols, refs and accounts. Raises WordsError.
    """
    if line.lstrip().startswith("#"):
        return None
    words = _Words(line.replace("@", " @ ").split())
    if not words.left:
        return None
    name = words.take("a command").lower()
    read = _READERS.get(name)
    if read is None:
        raise WordsError(f"{name!r} is no command: {', '.join(_READERS)}")
    command = read(words)
    if words.left:
        raise words.wrong("nothing more")
    return command


class _Words:
    """The words of a line, taken one after the other."""

    def __init__(self, words: list[str]) -> None:
        self._name = words[0].lower() if words else ""
        self.left = words

    def wrong(self, wanted: str) -> WordsError:
        found = f"where {self.left[0]!r} stands" if self.left else "at the end"
        usages = [usage for usage, _ in USAGES if usage.split()[0] == self._name]
        return WordsError(f"{wanted} is wanted {found}: {' or '.join(usages)}")

    def take(self, wanted: str) -> str:
        if not self.left:
            raise self.wrong(wanted)
        word, *self.left = self.left
        return word

    def accept(self, *words: str) -> str | None:
        """Take the next word if it is one of these, and return it, in lower case."""
        if self.left and self.left[0].lower() in words:
            return self.take("").lower()
        return None

    def expect(self, *words: str) -> str:
        found = self.accept(*words)
        if found is None:
            raise self.wrong(" or ".join(words))
        return found

    def number(self, wanted: str) -> str:
        if not self.left or not _NUMBER.fullmatch(self.left[0]):
            raise self.wrong(wanted)
        return self.take(wanted)

    def whole(self, wanted: str) -> int:
        if not self.left or not re.fullmatch(r"[0-9]{1,18}", self.left[0]):
            raise self.wrong(wanted)
        return int(self.take(wanted))

    def order(self) -> dict[str, Any]:
        """Take an order's id, or its ref, as the arguments of a request."""
        if self.accept("ref"):
            return {"ref": self.take("an order's ref")}
        word = self.take("an order's id or ref")
        return {"order_id": int(word)} if re.fullmatch(r"[0-9]{1,19}", word) else {"ref": word}


def _place(sign: str) -> Callable[[_Words], Ask]:
    def read(words: _Words) -> Ask:
        if len(words.left) > 1 and _NUMBER.fullmatch(words.left[0]) and not _NUMBER.fullmatch(words.left[1]):
            shares, sym = words.take(""), words.take("")  # "100 SPY" is meant no less
        else:
            sym, shares = words.take("a symbol"), words.number("a number of shares")
        words.expect("@", "at")
        price: dict[str, Any] = {"type": "market"}
        if not words.accept("market"):
            price = {"limit": words.number("a price, or market,")}
        return Ask((Order(sym, sign + shares, **price, **_terms(words, "budget")),))

    return read


def _terms(words: _Words, *more: str) -> dict[str, Any]:
    """Take what follows an order's price, as arguments of its request."""
    terms: dict[str, Any] = {}
    while words.left:
        word = words.accept("ioc", "fok", "gtc", "post", "stp", "ref", *more)
        if word is None:
            raise words.wrong(", ".join((_TERMS, *more)))
        key, value = _term(word, words)
        if key in terms:
            raise WordsError(f"{key} is said twice")
        terms[key] = value
    return terms


def _term(word: str, words: _Words) -> tuple[str, Any]:
    """Return an argument of a request by its word, taking what belongs to it."""
    match word:
        case "ioc" | "fok" | "gtc":
            return "tif", word.upper()
        case "post":
            return word, True
        case "stp":
            return word, words.expect("taker", "maker", "both")
        case "ref":
            return word, words.take("the order's name")
    return word, words.number("a number")


def _cancel(words: _Words) -> Ask:
    if not words.accept("all"):
        return Ask((Cancel(**words.order()),))
    if words.accept("after"):
        seconds = words.whole("a number of seconds")
        return Ask((ArmSwitch(seconds) if seconds else DisarmSwitch(),))
    return Ask((CancelAll(words.take("") if words.left else None),))


def _reduce(words: _Words) -> Ask:
    order = words.order()
    if words.expect("to", "by") == "to":
        return Ask((Reduce(**order, to=words.number("a number of shares")),))
    return Ask((Reduce(**order, shares=words.number("a number of shares")),))


def _replace(words: _Words) -> Ask:
    old = words.order()
    words.accept("with")
    sign = {"buy": "", "sell": "-"}[words.expect("buy", "sell")]
    amount = sign + words.number("a number of shares")
    words.expect("@", "at")
    limit = words.number("a price")
    named = {"order_id": old["order_id"]} if "order_id" in old else {"of": old["ref"]}
    return Ask((Replace(**named, amount=amount, limit=limit, **_terms(words, "open")),))


def _create(words: _Words) -> Make:
    if words.expect("account", "symbol") == "symbol":
        return Make((NewSymbol(words.take("a symbol")),))
    return Make((NewAccount(words.take("an account's number"), words.number("an amount of money")),))


def _grant(words: _Words) -> Make:
    sym, account_id = words.take("a symbol"), words.take("an account's number")
    return Make((Grant(sym, account_id, words.number("a number of shares")),))


def _orders(words: _Words) -> Ask:
    return Ask((ListOrders(words.take("") if words.left else None),))


def _book(words: _Words) -> Ask:
    sym = words.take("a symbol")
    return Ask((LookBook(sym, words.whole("a number of prices") if words.left else None),))


def _tape(words: _Words) -> Tape:
    sym = words.take("a symbol")
    return Tape(sym, words.whole("a number of trades") if words.left else 20)


_READERS: dict[str, Callable[[_Words], Command]] = {
    "buy": _place(""),
    "sell": _place("-"),
    "cancel": _cancel,
    "reduce": _reduce,
    "replace": _replace,
    "query": lambda words: Ask((Query(**words.order()),)),
    "account": lambda _: Ask((LookAccount(),)),
    "orders": _orders,
    "book": _book,
    "tape": _tape,
    "create": _create,
    "grant": _grant,
    "use": lambda words: Use(words.take("an account's number")),
    "server": lambda _: AskServer(),
    "help": lambda words: Help(words.take("").lower() if words.left else None),
    "quit": lambda _: Quit(),
    "exit": lambda _: Quit(),
}
