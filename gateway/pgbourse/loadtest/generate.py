"""`pgbourse generate`: documents from a seed, and the replies of an empty exchange to them."""

import itertools
import random
from collections.abc import Iterator
from pathlib import Path

import click

from pgbourse.errors import PgbourseError, counted
from pgbourse.loadtest.reference_server import ReferenceServer
from pgbourse.loadtest.templates import NAMING, Hole, write_request
from pgbourse.loadtest.workload import Draw, Workload

__all__ = ["GenerateError", "documents", "generate"]

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
    send` prints it, except that its times are 0, and so are the numbers of a book's updates. They have the
    names of their documents, in a folder of their own.

    Raises GenerateError if the folder already holds documents or can't be written, and if the documents are
    too few to create all accounts.
    """
    setup = sum(1 for _ in workload.setup_documents())
    if number <= setup:
        raise GenerateError(
            f"{counted(number, 'document')} won't do: it takes {setup} to create "
            f"{counted(workload.accounts, 'account')}, and at least one more"
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
    click.echo(f"wrote {counted(number, 'document')}; the accounts are created by the first {setup}")
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
