"""Random batches against the model in memory: every answer, balance, position and the book.

PGBOURSE_FUZZ_SEEDS says how many seeds to try (default 12), PGBOURSE_FUZZ_FIRST_SEED where to begin (0).
A failure names its seed.
"""

import itertools
import os
import random
from decimal import Decimal

import pytest

from tests.model import Exchange, Order
from tests.sql.market import Answer, Connection, Market, Request

FIRST_SEED = int(os.environ.get("PGBOURSE_FUZZ_FIRST_SEED", "0"))
SEEDS = range(FIRST_SEED, FIRST_SEED + int(os.environ.get("PGBOURSE_FUZZ_SEEDS", "12")))

BALANCES = ["0", "1000", "123456.789", "5000000"]
GRANTS = ["1", "100", "7.5", "1000.000000000001"]
# Few prices, so that orders meet, and some apart by the last digit.
PRICE_DIGITS = ["", ".5", ".000000000001"]
CREATES = ("create_account", "create_symbol", "grant_shares")


def random_request(chance: random.Random, accounts: int, syms: int, newest: int, creating: bool) -> Request:
    """Make a request that often, but not always, can be carried out."""
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


def serial_order(batch: list[Request]) -> list[int]:
    """Return the places of a batch's requests in the order in which they take effect.

    Each sequence is cut into runs of one kind; the first runs of all sequences come first, kind by kind.
    """
    keys = {}
    for sequence in {request.sequence for request in batch}:
        places = [place for place, request in enumerate(batch) if request.sequence == sequence]
        kinds = itertools.groupby(
            places, lambda place: "create" if batch[place].action in CREATES else batch[place].action
        )
        for phase, (kind, run) in enumerate(kinds):
            keys.update({place: (phase, kind, place) for place in run})
    return sorted(keys, key=keys.__getitem__)


def expected(model: Exchange, request: Request, answers: list[Answer]) -> str | Order:
    """Carry out a request in the model; a new order gets the id that the real exchange gave."""
    account, sym, order_id = request.account or "", request.sym or "", request.order_id or 0
    amount, limit = Decimal(request.amount or 0), Decimal(request.limit or 0)
    match request.action:
        case "create_account":
            return model.create_account(account, amount)
        case "grant_shares":
            return model.grant_shares(sym, account, amount)
        case "place_order":
            placed = model.place_order(account, sym, amount, limit)
            if isinstance(placed, str):
                return placed
            assert answers[0].order_id is not None, answers
            model.number(placed, answers[0].order_id)
            return "opened"
        case "query_order":
            return model.query_order(account, order_id)
    return model.cancel_order(account, order_id)


def assert_same(result: str | Order, answers: list[Answer]) -> None:
    if isinstance(result, str):
        assert [answer.code or answer.outcome for answer in answers] == [result]
        return
    parts: list[tuple[str, Decimal, Decimal | None]] = []
    if result.open:
        parts.append(("open", result.open, None))
    if result.canceled:
        parts.append(("canceled", result.canceled, None))
    parts += [("executed", shares, price) for shares, price in result.fills]
    assert parts == [
        (answer.outcome, Decimal(answer.shares or 0), None if answer.price is None else Decimal(answer.price))
        for answer in answers
    ]


def assert_same_state(model: Exchange, connection: Connection) -> None:
    balances = connection.execute("select account_id, cash from exchange.account_balances").fetchall()
    assert dict(balances) == model.cash
    positions = connection.execute(
        "select account_id, sym, shares from exchange.account_positions"
    ).fetchall()
    assert {row[:2]: row[2] for row in positions if row[2]} == {
        key: shares for key, shares in model.shares.items() if shares
    }
    book = connection.execute(
        "select order_id, open_shares from exchange.resting_orders order by 1"
    ).fetchall()
    assert book == model.book()


@pytest.mark.parametrize("seed", SEEDS)
def test_random_batches_agree_with_the_model(market: Market, seed: int) -> None:
    chance = random.Random(seed)
    batches, size = chance.choice([10, 30]), chance.choice([1, 5, 40, 150])
    accounts, syms, sequences = chance.choice([2, 5, 12]), chance.choice([1, 3]), chance.choice([1, 1, 6])
    model = Exchange()
    for number in range(batches):
        newest = max(model.orders, default=0)
        batch = [
            random_request(chance, accounts, syms, newest, creating=number == 0)._replace(
                sequence=chance.randint(1, sequences)
            )
            for _ in range(chance.randint(1, size))
        ]
        answers = market.batch(batch)
        for place in serial_order(batch):
            assert_same(expected(model, batch[place], answers[place]), answers[place])
        assert_same_state(model, market.connection)
    assert market.violations() == []
