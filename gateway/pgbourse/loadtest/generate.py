"""`pgbourse generate`: documents from a seed, and the replies of an empty exchange to them."""

import random
import re
from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import click
from lxml import etree

from pgbourse.errors import PgbourseError
from pgbourse.loadtest.reference import Order, ReferenceExchange
from pgbourse.loadtest.workload import Draw, Workload

__all__ = ["GenerateError", "ReferenceServer", "documents", "generate"]

_TIME = "0"  # in place of the real time in seconds
_COMPARE = """\
Send them in order to a server with an empty database (order ids begin at 1), and compare:
  pgbourse send {0}/{1}.xml | sed 's/time="[0-9]*"/time="0"/' | diff {0}/{1}.expected.xml -\
"""


class GenerateError(PgbourseError):
    """The documents can't be written, or are too few to create all accounts."""


def generate(workload: Workload, number: int, folder: Path) -> None:
    """Write `number` documents, each with its expected reply, into a folder, which is created if absent.

    The first ones create the accounts. The same workload gives the same files. A reply looks as `pgbourse
    send` prints it, except that its times are 0.

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
        folder.mkdir(parents=True, exist_ok=True)
        if (found := next(folder.glob("*.xml"), None)) is not None:
            raise GenerateError(
                f"{folder} holds documents already, such as {found.name}: name another folder"
            )
        for place, (document, reply) in enumerate(documents(workload, number), 1):
            (folder / f"{place:0{width}}.xml").write_bytes(document)
            (folder / f"{place:0{width}}.expected.xml").write_text(reply + "\n")
    except OSError as error:
        raise GenerateError(f"can't write documents into {folder}") from error
    click.echo(f"wrote {number} documents, the first {setup} of which create the accounts")
    click.echo(_COMPARE.format(folder, f"{1:0{width}}"))


def documents(workload: Workload, number: int) -> Iterator[tuple[bytes, str]]:
    """Give documents, and the replies of an empty exchange that gets them in this order."""
    rng = random.Random(workload.seed)
    draw = Draw(workload, rng)
    market = ReferenceServer()
    made = 0
    for document, _ in workload.setup_documents():
        yield document, market.reply(document)
        made += 1
    for _ in range(number - made):
        account = rng.choice(workload.account_ids())
        root = etree.Element("transactions", id=account)
        for _ in range(workload.orders):
            sym, shares, limit = draw.order()
            kind, known = draw.kind(), market.ids[account]
            if kind == "order" or not known:
                etree.SubElement(root, "order", sym=sym, amount=str(shares), limit=limit)
            else:
                etree.SubElement(root, kind, id=str(rng.choice(known)))
        document = etree.tostring(root, xml_declaration=True, encoding="UTF-8")
        yield document, market.reply(document)


_REFUSALS = {
    "nothing_open": "order {} has no open shares to cancel",
    "unknown_order": "no such order: {}",
}


class ReferenceServer:
    """The reference exchange, behind the protocol."""

    def __init__(self) -> None:
        self._exchange = ReferenceExchange()
        self.ids: defaultdict[str, list[int]] = defaultdict(list)  # of the orders of each account
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
        if child.tag == "order":
            order = self._exchange.place_order(
                account, echo["sym"], Decimal(echo["amount"]), Decimal(echo["limit"])
            )
            assert isinstance(order, Order), (
                order
            )  # there is enough money and there are enough shares for every order drawn
            self._opened += 1
            self._exchange.number(order, self._opened)
            self.ids[account].append(self._opened)
            etree.SubElement(results, "opened", echo | {"id": str(self._opened)})
            return
        ask = self._exchange.query_order if child.tag == "query" else self._exchange.cancel_order
        order = ask(account, int(echo["id"]))
        if isinstance(order, Order):
            status = etree.SubElement(results, "status" if child.tag == "query" else "canceled", echo)
            _add_parts(order, status)
        else:
            refusal = etree.SubElement(results, "error", echo)
            refusal.text = _REFUSALS[order].format(echo["id"])


def _add_parts(order: Order, status: etree._Element) -> None:
    if order.open:
        etree.SubElement(status, "open", shares=_plain(order.open))
    if order.canceled:
        etree.SubElement(status, "canceled", shares=_plain(order.canceled), time=_TIME)
    for shares, price in order.fills:
        etree.SubElement(status, "executed", shares=_plain(shares), price=_plain(price), time=_TIME)


def _plain(number: Decimal) -> str:
    """Write a number without an exponent or trailing zeros."""
    text = f"{number:f}"
    return re.sub(r"\.?0+$", "", text) if "." in text else text
