"""Local books that are wrong in one way each: the comparison with the plain one finds them all."""

from collections.abc import Callable, Iterator
from decimal import Decimal
from itertools import groupby
from typing import Any

import pytest

from pgbourse.client import BookOrder, localbook
from tests.unit.test_local_book import differences


def _last_come_first(side: Any) -> Iterator[BookOrder]:
    orders = list(_orders(side))
    for _, group in groupby(orders, key=lambda order: order.price):
        yield from reversed(list(group))


def _keeps_the_sum(side: Any, order_id: int, shares: Decimal) -> Decimal:
    price = side._prices[side._ranks_of[order_id]]
    before = price.shares
    left = _take(side, order_id, shares)
    price.shares = before
    return left


def _ranks_buys_like_sells(side: Any, order: BookOrder) -> None:
    side._side, said = "sell", side._side
    _add(side, order)
    side._side = said


_SIDE = localbook._Side
_orders, _take, _add = _SIDE.orders, _SIDE.take, _SIDE.add


@pytest.mark.parametrize(
    ("name", "broken"),
    [("orders", _last_come_first), ("take", _keeps_the_sum), ("add", _ranks_buys_like_sells)],
)
def test_a_book_that_is_wrong_is_found_out(
    monkeypatch: pytest.MonkeyPatch, name: str, broken: Callable[..., Any]
) -> None:
    monkeypatch.setattr(_SIDE, name, broken)
    assert any(differences(seed) for seed in range(5))
