"""Random trading: requests that often, but not always, can be carried out."""

import random
from decimal import Decimal

from tests.sql.market import Request

__all__ = ["random_batch"]

BALANCES = ["0", "1000", "123456.789", "5000000"]
GRANTS = ["1", "100", "7.5", "1000.00000000000000000001"]
# Few prices, so that orders meet, and some apart by the last digit.
PRICE_DIGITS = ["", ".5", ".00000000000000000001"]


def random_batch(
    chance: random.Random, size: int, accounts: int, syms: int, newest: int, *, creating: bool = False
) -> list[Request]:
    """Make a batch: mostly orders, some queries and cancels of orders up to the newest id, few creates.

    Accounts are 1, 2, …, symbols S1, S2, …; with creating, creates alone.
    """
    return [_random_request(chance, accounts, syms, newest, creating) for _ in range(size)]


def _random_request(chance: random.Random, accounts: int, syms: int, newest: int, creating: bool) -> Request:
    account, sym = str(chance.randint(1, accounts)), f"S{chance.randint(1, syms)}"
    dice = chance.random()
    if creating or dice < 0.05:
        if chance.random() < 0.5:
            return Request("create_account", account, amount=chance.choice(BALANCES))
        return Request("grant_shares", account, sym, chance.choice(GRANTS))
    if dice < 0.8:
        most = 200 if chance.random() < 0.9 else 3000
        shares = Decimal(chance.randint(1, most)) / chance.choice([1, 1, 1, 2, 8]) * chance.choice([1, -1])
        amount = "0" if chance.random() < 0.02 else str(shares)
        return Request(
            "place_order", account, sym, amount, f"{chance.randint(96, 104)}{chance.choice(PRICE_DIGITS)}"
        )
    action = chance.choice(["query_order", "cancel_order"])
    return Request(action, account, order_id=chance.randint(1, newest + 2))
