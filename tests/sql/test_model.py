"""Random batches against the model in memory: every answer, balance, position and the book.

PGBOURSE_FUZZ_SEEDS says how many seeds to try (default 12), PGBOURSE_FUZZ_FIRST_SEED where to begin (0).
A failure names its seed.
"""

import itertools
import os
import random
from decimal import Decimal, localcontext

import pytest

from pgbourse.loadtest.reference import Order, ReferenceExchange
from tests.sql.market import Answer, Connection, Market, Request, always_hint
from tests.sql.trading import random_batch

FIRST_SEED = int(os.environ.get("PGBOURSE_FUZZ_FIRST_SEED", "0"))
SEEDS = range(FIRST_SEED, FIRST_SEED + int(os.environ.get("PGBOURSE_FUZZ_SEEDS", "12")))

CREATES = ("create_account", "create_symbol", "grant_shares")


def runs(batch: list[Request]) -> list[tuple[str, list[int]]]:
    """Return what a batch is cut into, in order: the kind of each run, and the places of its requests.

    Each sequence is cut into runs of one kind; the first runs of all sequences come first, kind by kind.
    """
    found: dict[tuple[int, str], list[int]] = {}
    for sequence in {request.sequence for request in batch}:
        places = [place for place, request in enumerate(batch) if request.sequence == sequence]
        kinds = itertools.groupby(
            places, lambda place: "create" if batch[place].action in CREATES else batch[place].action
        )
        for phase, (kind, run) in enumerate(kinds):
            found.setdefault((phase, kind), []).extend(run)
    return [(kind, sorted(found[phase, kind])) for phase, kind in sorted(found)]


def reserve(
    model: ReferenceExchange, batch: list[Request], places: list[int]
) -> tuple[list[int], dict[int, str], list[int]]:
    """Say of orders which are reserved for, which are refused for what, and which wait for a match."""
    left: dict[object, Decimal] = {}
    reserved, refused, later = [], {}, []
    begun: set[int] = set()
    stopped: set[int] = set()
    for place in sorted(places, key=lambda place: batch[place].sequence):
        request = batch[place]
        account, sym, amount = request.account or "", request.sym or "", Decimal(request.amount or 0)
        holding: object = account if amount > 0 else (account, sym)
        has = model.cash.get(account) if amount > 0 else model.shares.get((account, sym))
        needed = amount * Decimal(request.limit or 0) if amount > 0 else -amount
        is_good = amount != 0 and account in model.cash and sym in model.symbols
        if request.sequence in stopped:
            later.append(place)
        elif not is_good or left.setdefault(holding, has or Decimal(0)) >= needed:
            reserved.append(place)  # or refused for another reason, which the model knows
            if is_good:
                left[holding] -= needed
                begun.add(request.sequence)
        elif request.sequence in begun:
            later.append(place)
            stopped.add(request.sequence)
        else:
            refused[place] = "insufficient_funds" if amount > 0 else "insufficient_shares"
    return sorted(reserved, key=places.index), refused, sorted(later, key=places.index)


def play(model: ReferenceExchange, batch: list[Request], answers: list[list[Answer]]) -> None:
    """Carry out a batch in the model and compare its answers.

    Orders of several sequences are reserved for together, before any of them is matched. Those of one
    sequence are as good as carried out one after the other: that is what a single one is compared with.
    """
    alone = len({request.sequence for request in batch}) == 1
    for kind, places in runs(batch):
        most, rest = 8, list[int]()  # the next round takes few: each may have to wait for the one before it
        while places:
            later: list[int] = []
            if kind == "place_order" and not alone:
                with localcontext(prec=100):
                    places, refused, later = reserve(model, batch, places)
                for place, code in refused.items():
                    assert_same(code, answers[place])
            for place in places:
                assert_same(expected(model, batch[place], answers[place]), answers[place])
            most = 8 if later else 2 * most
            places, rest = (later + rest)[:most], (later + rest)[most:]


def expected(model: ReferenceExchange, request: Request, answers: list[Answer]) -> str | Order:
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


def assert_same_state(model: ReferenceExchange, connection: Connection) -> None:
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
@pytest.mark.parametrize("hinted", [False, True], ids=["", "hinted"])
def test_random_batches_agree_with_the_model(market: Market, seed: int, hinted: bool) -> None:
    if hinted:
        always_hint(market.connection)
    chance = random.Random(seed)
    batches, size = chance.choice([10, 30]), chance.choice([1, 5, 40, 150])
    accounts, syms, sequences = chance.choice([2, 5, 12]), chance.choice([1, 3]), chance.choice([1, 1, 6])
    model = ReferenceExchange()
    for number in range(batches):
        newest = max(model.orders, default=0)
        batch = random_batch(chance, chance.randint(1, size), accounts, syms, newest, creating=number == 0)
        batch = [request._replace(sequence=chance.randint(1, sequences)) for request in batch]
        answers = market.batch(batch)
        play(model, batch, answers)
        assert_same_state(model, market.connection)
    assert market.violations() == []
