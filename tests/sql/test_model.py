"""Random batches against the model in memory: every answer, balance, position and the book.

PGBOURSE_FUZZ_SEEDS says how many seeds to try (default 12), PGBOURSE_FUZZ_FIRST_SEED where to begin (0).
A failure names its seed.
"""

import itertools
import os
import random
from collections.abc import Sequence
from decimal import Decimal, localcontext

import pytest

from pgbourse.loadtest.reference import Order, ReferenceExchange
from tests.sql.market import Answer, Connection, Market, Request, always_hint
from tests.sql.told import assert_answered, assert_same, terms_of
from tests.sql.trading import KINDS, Trading, names

FIRST_SEED = int(os.environ.get("PGBOURSE_FUZZ_FIRST_SEED", "0"))
SEEDS = range(FIRST_SEED, FIRST_SEED + int(os.environ.get("PGBOURSE_FUZZ_SEEDS", "12")))

# What is done together with other actions; all others are with their own kind.
KIND = {
    **dict.fromkeys(["create_account", "create_symbol", "grant_shares"], "create"),
    **dict.fromkeys(["replace_order", "reduce_order", "reduce_order_to", "cancel_all"], "change"),
    **dict.fromkeys(["arm_switch", "disarm_switch", "fire_switch"], "change"),
}

# What changes nothing.
LOOKS = {"query_order", "look_account", "list_orders", "look_book"}


def runs(batch: list[Request]) -> list[tuple[str, list[int]]]:
    """Return what a batch is cut into, in order: the kind of each run, and the places of its requests.

    Each sequence is cut into runs of one kind; the first runs of all sequences come first, kind by kind. But
    what sequences begin with that changes nothing comes before all else.
    """
    found: dict[tuple[bool, int, str], list[int]] = {}
    for sequence in {request.sequence for request in batch}:
        places = [place for place, request in enumerate(batch) if request.sequence == sequence]
        kinds = itertools.groupby(places, lambda place: kind_of(batch[place].action))
        changes = False
        for phase, (kind, run) in enumerate(kinds):
            changes = changes or kind not in LOOKS
            found.setdefault((changes, phase, kind), []).extend(run)
    return [(key[-1], sorted(found[key])) for key in sorted(found)]


def kind_of(action: str) -> str:
    return KIND.get(action, action)


def reserve(
    model: ReferenceExchange, batch: list[Request], places: list[int]
) -> tuple[list[int], dict[int, str], list[int]]:
    """Say of orders which are reserved for, which are refused for what, and which wait for a match."""
    left: dict[object, Decimal] = {}
    reserved, refused, later = [], {}, []
    begun: set[int] = set()
    stopped: set[int] = set()
    seconds = say_a_ref_second(model, batch, places)
    for place in sorted(places, key=lambda place: batch[place].sequence):
        request = batch[place]
        order = order_of(request)
        holding: object = order.account if order.buying else (order.account, order.sym)
        has = model.cash.get(order.account) if order.buying else model.shares.get((order.account, order.sym))
        is_known = not isinstance(model.query_order(order.account, order.terms.ref or ""), str)
        is_good = (
            order.misspelt() is None
            and order.account in model.cash.keys() - model.frozen
            and order.sym in model.symbols
            and not is_known
        )
        needed = (order.cost() if order.buying else order.shares) if is_good else Decimal(0)
        if request.sequence in stopped:
            later.append(place)
        elif place in seconds:
            later.append(place)
            stopped.add(request.sequence)
        elif not is_good or left.setdefault(holding, has or Decimal(0)) >= needed:
            reserved.append(place)  # or refused for another reason, or said again, which the model knows
            if is_good:
                left[holding] -= needed
                begun.add(request.sequence)
        elif request.sequence in begun:
            later.append(place)
            stopped.add(request.sequence)
        else:
            refused[place] = "insufficient_funds" if order.buying else "insufficient_shares"
    return sorted(reserved, key=places.index), refused, sorted(later, key=places.index)


def say_a_ref_second(model: ReferenceExchange, batch: list[Request], places: list[int]) -> set[int]:
    """Return the orders that wait for another of their ref: it is new, and not decided before that one is."""
    firsts: set[tuple[str, str]] = set()
    seconds: set[int] = set()
    for place in places:
        order = order_of(batch[place])
        ref = (order.account, order.terms.ref or "")
        if (
            ref[1]
            and order.account in model.cash
            and not order.misspelt()
            and model.query_order(*ref) == "unknown_order"
        ):
            if ref in firsts:
                seconds.add(place)
            firsts.add(ref)
    return seconds


def order_of(request: Request) -> Order:
    amount, limit = Decimal(request.amount or 0), None if request.limit is None else Decimal(request.limit)
    terms = terms_of(request.said)
    return Order(0, request.account or "", request.sym or "", amount > 0, limit, abs(amount), terms)


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
                    assert_same([{"outcome": "refused", "code": code}], answers[place])
            for place in places:
                assert_answered(model, batch[place], answers[place])
            most = 8 if later else 2 * most
            places, rest = (later + rest)[:most], (later + rest)[most:]


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
    agree(market, random.Random(seed), ())


@pytest.mark.parametrize("seed", SEEDS)
def test_random_batches_of_all_kinds_agree_with_the_model(market: Market, seed: int) -> None:
    agree(market, random.Random(seed), KINDS)


def agree(market: Market, chance: random.Random, kinds: Sequence[str]) -> None:
    """Trade at random with the real exchange and with the model, and compare all that they say."""
    batches, size = chance.choice([10, 30]), chance.choice([5, 40, 150] if kinds else [1, 5, 40, 150])
    accounts, syms, sequences = chance.choice([2, 5, 12]), chance.choice([1, 3]), chance.choice([1, 1, 6])
    model, trading = ReferenceExchange(), Trading(chance, names(accounts), names(syms, "S"), kinds)
    for number in range(batches):
        newest = max(model.orders, default=0)
        if kinds:
            trading.orders = {
                order_id: order.account
                for order_id, order in sorted(model.orders.items())
                if order.open or chance.random() < 0.05
            }
        if kinds and number == 0:
            batch = trading.beginning()
        else:
            batch = trading.batch(chance.randint(1, size), newest, creating=number == 0)
        batch = [request._replace(sequence=chance.randint(1, sequences)) for request in batch]
        answers = market.batch(batch)
        play(model, batch, answers)
        assert_same_state(model, market.connection)
        if kinds:
            interfere(market, model, chance)
    assert market.violations() == []


def interfere(market: Market, model: ReferenceExchange, chance: random.Random) -> None:
    """Do what no client can: let the time of a switch come, or take a symbol or an account out of trading."""
    account = chance.choice(sorted(model.cash) or [None])
    sym = chance.choice(sorted(model.symbols) or [None])
    dice = chance.random()
    if account in model.switches and dice < 0.5:
        market.connection.execute(
            "update exchange.switches set fires_at = to_timestamp(0) where account_key = "
            "(select account_key from exchange.accounts where account_id = %s)",
            [account],
        )
        model.switches[account] = Decimal(0)
    elif dice < 0.05 or (model.frozen and dice < 0.5):
        account = min(model.frozen, default=account)
        toggle(market, model.frozen, account, "freeze_account", "unfreeze_account")
    elif dice < 0.1 or model.halted:
        sym = min(model.halted, default=sym)
        toggle(market, model.halted, sym, "halt_symbol", "resume_symbol")


def toggle(market: Market, those: set[str], name: str | None, take_out: str, put_back: str) -> None:
    if name is not None:
        function = put_back if name in those else take_out
        market.connection.execute(f"select exchange.{function}(%s)".encode(), [name])
        those ^= {name}
