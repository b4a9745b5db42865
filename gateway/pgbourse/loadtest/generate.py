"""`pgbourse generate`: documents from a seed, and the replies of an empty exchange to them."""

import itertools
import random
import re
from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import click
from lxml import etree

from pgbourse.errors import PgbourseError
from pgbourse.loadtest.reference import Order, ReferenceExchange, Terms
from pgbourse.loadtest.templates import NAMING, Hole, write_request
from pgbourse.loadtest.workload import Draw, Workload

__all__ = ["GenerateError", "ReferenceServer", "documents", "generate"]

_TIME = "0"  # in place of the real time in seconds
_EXPECTED = "expected"  # the folder of the replies, where `send FOLDER/*.xml` doesn't look
_COMPARE = """\
Send them in order to a server with an empty database (order ids begin at 1), and compare:
  pgbourse send --expect {0}/{1} {0}/*.xml\
"""


class GenerateError(PgbourseError):
    """The documents can't be written, or are too few to create all accounts."""


def generate(workload: Workload, number: int, folder: Path) -> None:
    """Write `number` documents, each with its expected reply, into a folder, which is created if absent.

    The first ones create the accounts. The same workload gives the same files. A reply looks as `pgbourse
    send` prints it, except that its times are 0. They have the names of their documents, in a folder of their
    own.

    Raises GenerateError if the folder already holds documents or can't be written, and if the documents are
    too few to create all accounts.
    """
    setup = sum(1 for _ in workload.setup_documents())
    if number <= setup:
        raise GenerateError(
            f"{number} documents are too few: {setup} are needed to create {workload.accounts} accounts"
        )
    width = max(4, len(str(number)))
    try:
        (folder / _EXPECTED).mkdir(parents=True, exist_ok=True)
        if (found := next(folder.glob("*.xml"), None)) is not None:
            raise GenerateError(
                f"{folder} holds documents already, such as {found.name}: name another folder"
            )
        for place, (document, reply) in enumerate(documents(workload, number), 1):
            name = f"{place:0{width}}.xml"
            (folder / name).write_bytes(document)
            (folder / _EXPECTED / name).write_text(reply + "\n")
    except OSError as error:
        raise GenerateError(f"can't write documents into {folder}") from error
    click.echo(f"wrote {number} documents, the first {setup} of which create the accounts")
    click.echo(_COMPARE.format(folder, _EXPECTED))


def documents(workload: Workload, number: int) -> Iterator[tuple[bytes, str]]:
    """Give documents, and the replies of an empty exchange that gets them in this order."""
    rng = random.Random(workload.seed)
    draw = Draw(workload, rng)
    market = ReferenceServer()
    refs = itertools.count(1)
    made = 0
    for document, _ in workload.setup_documents():
        yield document, market.reply(document)
        made += 1
    for _ in range(number - made):
        account = rng.choice(workload.account_ids())
        known = market.known[account]
        written = []
        for _ in range(workload.orders):
            order = draw.order()
            kind = draw.kind()
            if kind in NAMING and not known:
                kind = "order"
            text = write_request(kind, *order, refs=bool(workload.refs))
            if kind in NAMING:
                text = _name(text, *rng.choice(known))
            while Hole.REF.value in text:
                text = text.replace(Hole.REF.value, f"{workload.refs}-{next(refs)}", 1)
            written.append(text)
        head = f"<?xml version='1.0' encoding='UTF-8'?>\n<transactions id=\"{account}\">"
        document = f"{head}{''.join(written)}</transactions>".encode()
        yield document, market.reply(document)


def _name(text: str, order_id: int, sign: str) -> str:
    """Fill the id of an order into the text of a request."""
    text = text.replace(Hole.REPLACED.value, f'{order_id}" amount="{sign}')
    return text.replace(Hole.ORDER.value, str(order_id)).replace(Hole.ENDED.value, str(order_id))


_REFUSALS = {
    "nothing_open": "order {} has no open shares to cancel",
    "unknown_order": "no such order: {}",
    "unfilled": "it can't be filled wholly at once: {} of {} shares could be had",
    "would_trade": "it would trade at once: an order rests at {}",
}


class ReferenceServer:
    """The reference exchange, behind the protocol."""

    def __init__(self) -> None:
        self._exchange = ReferenceExchange()
        # The orders of each account: their ids, and "-" if they sell.
        self.known: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)
        self._opened = 0

    def reply(self, document: bytes) -> str:
        """Carry out a document and return the reply, indented."""
        root = etree.fromstring(document)
        results = etree.Element("results")
        for child in root:
            if root.tag == "create":
                self._create(child, results)
            else:
                self._transact(root.get("id", ""), child, results)
        etree.indent(results)
        return etree.tostring(results, encoding="unicode")

    def _create(self, child: etree._Element, results: etree._Element) -> None:
        if child.tag == "account":
            account, balance = child.get("id", ""), Decimal(child.get("balance", ""))
            assert self._exchange.create_account(account, balance) == "created"
            etree.SubElement(results, "created", id=account)
        for grant in child.iterfind("account"):
            sym, account = child.get("sym", ""), grant.get("id", "")
            assert self._exchange.grant_shares(sym, account, Decimal(grant.text or "")) == "created"
            etree.SubElement(results, "created", sym=sym, id=account)

    def _transact(self, account: str, child: etree._Element, results: etree._Element) -> None:
        echo = {str(name): str(value) for name, value in child.attrib.items()}
        answer = getattr(self, f"_{child.tag!s}")(account, echo)
        if isinstance(answer, str):
            etree.SubElement(results, "error", echo).text = self._refusal(answer, account, echo)
        else:
            results.append(answer)

    def _refusal(self, answer: str, account: str, echo: dict[str, str]) -> str:
        code, *numbers = answer.split()
        if code == "unfilled":
            numbers.append(_plain(abs(Decimal(echo["amount"]))))
        elif code == "would_trade":
            book = self._exchange.look_book(account, echo["sym"], 1)
            assert not isinstance(book, str)
            _, bids, asks = book
            ((price, _, _),) = asks if Decimal(echo["amount"]) > 0 else bids
            numbers.append(_plain(price))
        return _REFUSALS[code].format(*numbers or [echo["id"]])

    def _order(self, account: str, echo: dict[str, str]) -> str | etree._Element:
        amount, limit = Decimal(echo["amount"]), _decimal(echo, "limit")
        order = self._exchange.place_order(account, echo["sym"], amount, limit, _terms(echo))
        return order if isinstance(order, str) else self._opened_as(order, echo)

    def _replace(self, account: str, echo: dict[str, str]) -> str | etree._Element:
        amount, limit = Decimal(echo["amount"]), Decimal(echo["limit"])
        order = self._exchange.replace_order(account, int(echo["id"]), amount, limit, _terms(echo))
        if isinstance(order, str):
            return order
        repeated = {name: value for name, value in echo.items() if name not in ("id", "open")}
        return self._opened_as(order, {"sym": order.sym} | repeated)

    def _opened_as(self, order: Order, echo: dict[str, str]) -> etree._Element:
        """Write what is told of an order, which gets its number unless it had been placed before."""
        duplicate = {"duplicate": "true"} if order.order_id else {}
        if not order.order_id:
            self._opened += 1
            self._exchange.number(order, self._opened)
            self.known[order.account].append((self._opened, "" if order.buying else "-"))
        told = {name: _text(value) for name, value in order.told()}
        return etree.Element("opened", echo | {"id": str(order.order_id)} | told | duplicate)

    def _reduce(self, account: str, echo: dict[str, str]) -> str | etree._Element:
        done = self._exchange.reduce_order(
            account, int(echo["id"]), shares=_decimal(echo, "shares"), to=_decimal(echo, "to")
        )
        if isinstance(done, str):
            return done
        shares, left = done
        return etree.Element("reduced", {"id": echo["id"], "shares": _plain(shares), "open": _plain(left)})

    def _query(self, account: str, echo: dict[str, str]) -> str | etree._Element:
        return _with_parts("status", self._exchange.query_order(account, int(echo["id"])), echo)

    def _cancel(self, account: str, echo: dict[str, str]) -> str | etree._Element:
        return _with_parts("canceled", self._exchange.cancel_order(account, int(echo["id"])), echo)


def _terms(echo: dict[str, str]) -> Terms:
    return Terms(
        echo.get("ref"),
        echo.get("type"),
        _decimal(echo, "budget"),
        echo.get("tif"),
        echo.get("post") == "true",
        echo.get("stp"),
    )


def _decimal(echo: dict[str, str], name: str) -> Decimal | None:
    return Decimal(echo[name]) if name in echo else None


def _text(value: object) -> str:
    if isinstance(value, Decimal):
        return _plain(value)
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _with_parts(tag: str, order: Order | str, echo: dict[str, str]) -> str | etree._Element:
    if isinstance(order, str):
        return order
    status = etree.Element(tag, echo)
    _add_parts(order, status)
    return status


def _add_parts(order: Order, status: etree._Element) -> None:
    if order.open:
        etree.SubElement(status, "open", shares=_plain(order.open))
    if order.canceled:
        etree.SubElement(status, "canceled", shares=_plain(order.canceled), time=_TIME)
    for shares in order.reductions:
        etree.SubElement(status, "reduced", shares=_plain(shares), time=_TIME)
    for shares, price in order.fills:
        etree.SubElement(status, "executed", shares=_plain(shares), price=_plain(price), time=_TIME)


def _plain(number: Decimal) -> str:
    """Write a number without an exponent or trailing zeros."""
    text = f"{number:f}"
    return re.sub(r"\.?0+$", "", text) if "." in text else text
