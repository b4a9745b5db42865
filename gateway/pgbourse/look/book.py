"""`pgbourse book`: the prices of a symbol's book."""

import sys

from pgbourse.look.asking import ServerAddress, asking
from pgbourse.look.sheets import show
from pgbourse.look.views import as_json, book_sheet

__all__ = ["show_book"]


def show_book(server: ServerAddress, sym: str, account_id: str, depth: int, *, json: bool = False) -> None:
    """Print the best `depth` prices of each side, as this account may look at them.

    Raises AskError or ClientError.
    """
    with asking(server, "name one that exists with --account") as client:
        book = client.look_book(account_id, sym, depth)
    if json:
        sys.stdout.write(as_json(book) + "\n")
    else:
        show([book_sheet(book)])
