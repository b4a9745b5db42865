"""Gateways that forget that the children of a document come in their order: the tests of lanes find them."""

import itertools
import re
from collections.abc import Callable, Sequence

import pytest

from pgbourse.serve import carrier
from pgbourse.serve.batch import literal_of
from pgbourse.serve.calls import Caller, Reserved
from pgbourse.serve.carrier import Carrier
from pgbourse.serve.portions import Portion
from pgbourse.wire.messages import ResultRow
from tests.integration import test_lanes as tests
from tests.integration.conftest import Gateway
from tests.integration.test_lanes import gateway, psql

__all__ = ["gateway", "psql"]  # fixtures

Patch = pytest.MonkeyPatch


def refuses_what_may_be_paid_for_later(patch: Patch) -> None:
    """Take "later" for a refusal."""
    reserve = Caller.reserve

    def refuse(self: Caller, requests: bytes, certified: bool = False) -> list[Reserved]:
        rows = reserve(self, requests, certified)
        return [row._replace(code="insufficient_funds") if row.code == "later" else row for row in rows]

    patch.setattr(Caller, "reserve", refuse)


def lets_later_children_overtake(patch: Patch) -> None:
    """Reserve for each order by itself, as if the others of its connection were somebody else's."""
    numbers = itertools.count(1)

    def each_a_sequence(portions: Sequence[Portion]) -> bytes:
        return re.sub(rb'"\(\d+,', lambda _: b'"(%d,' % next(numbers), literal_of(portions))

    patch.setattr(carrier, "literal_of", each_a_sequence)


def tells_what_is_only_reserved(patch: Patch) -> None:
    """Answer an order once it is reserved for, and let it be matched some time later."""
    reserve = Carrier.reserve

    def forget(self: Carrier, portions: Sequence[Portion]) -> None:
        reserve(self, portions)
        for portion in portions:
            for place, order in portion.reserved:
                portion.results[place] = [ResultRow(0, "opened", order.incoming_id)]
            portion.reserved = []

    patch.setattr(Carrier, "reserve", forget)


MUTANTS: dict[Callable[[Patch], None], Callable[[Gateway], None]] = {
    refuses_what_may_be_paid_for_later: tests.test_what_earlier_orders_bring_pays_for_the_next,
    lets_later_children_overtake: tests.test_what_earlier_orders_bring_pays_for_the_next,
    tells_what_is_only_reserved: tests.test_what_follows_an_order_sees_it_matched,
}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_mutant_is_found(gateway: Gateway, monkeypatch: Patch, mutant: Callable[[Patch], None]) -> None:
    mutant(monkeypatch)
    with pytest.raises(AssertionError):
        MUTANTS[mutant](gateway)
