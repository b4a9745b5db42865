"""`pgbourse account`: what an account has, and its open orders."""

import sys
from collections.abc import Iterator

from pgbourse.client import Client, OpenOrder
from pgbourse.look.asking import ServerAddress, asking
from pgbourse.look.sheets import show
from pgbourse.look.views import account_json, account_sheet

__all__ = ["open_orders", "show_account"]


def show_account(server: ServerAddress, account_id: str, *, orders: bool = False, json: bool = False) -> None:
    """Print an account, with all its open orders if they are asked for.

    Raises AskError or ClientError.
    """
    with asking(server) as client:
        account = client.look_account(account_id)
        listed = list(open_orders(client, account_id)) if orders else []
    if json:
        sys.stdout.write(account_json(account_id, account, listed if orders else None) + "\n")
    else:
        show([account_sheet(account_id, account, listed)])


def open_orders(client: Client, account_id: str, sym: str | None = None) -> Iterator[OpenOrder]:
    """Yield all open orders of an account, by id; each thousand of them is of one moment."""
    after: int | None = None
    while True:
        page = client.list_orders(account_id, sym, after=after)
        yield from page.orders
        if not page.more or not page.orders:
            return
        after = page.orders[-1].order_id
