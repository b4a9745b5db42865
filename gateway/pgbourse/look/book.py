"""`pgbourse book`: the prices of a symbol's book."""

import sys

from pgbourse.client import Book, LocalBook, NotSupported, RequestRefused
from pgbourse.look.asking import AskError, ServerAddress, asking
from pgbourse.look.sheets import show
from pgbourse.look.trades import take_snapshot
from pgbourse.look.views import as_json, book_sheet

__all__ = ["show_book"]

_LIKELY_ACCOUNT = "1"
_OF_THE_ACCOUNT = ("unknown_account", "not_permitted")


def show_book(
    server: ServerAddress, sym: str, account_id: str | None, depth: int, *, json: bool = False
) -> None:
    """Print the best `depth` prices of each side, as this account may look at them, or as anybody may.

    Raises AskError, ClientError or RequestRefused.
    """
    book = _ask(server, sym, account_id, depth)
    if json:
        sys.stdout.write(as_json(book) + "\n")
    else:
        show([book_sheet(book)])


def _ask(server: ServerAddress, sym: str, account_id: str | None, depth: int) -> Book:
    """Return the book. Without an account try a likely one: the feed's snapshot may be very much longer."""
    try:
        with asking(server) as client:
            return client.look_book(account_id or _LIKELY_ACCOUNT, sym, depth)
    except RequestRefused as error:
        if error.code not in _OF_THE_ACCOUNT:
            raise
        refused = AskError(f"{error}: name an account with --account")
    if account_id is not None:
        raise refused
    book = LocalBook(sym)
    try:
        book.apply(take_snapshot(server, sym))
    except NotSupported:
        raise refused from None
    return book.book(depth)
