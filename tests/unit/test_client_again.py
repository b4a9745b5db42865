"""What may be sent again without anything happening twice, and what a server must know for a request."""

import pytest

from pgbourse.client import (
    ArmSwitch,
    Cancel,
    CancelAll,
    DisarmSwitch,
    Grant,
    ListOrders,
    LookAccount,
    LookBook,
    NewAccount,
    NewSymbol,
    NotSupported,
    Order,
    Query,
    Reduce,
    Replace,
    Server,
    Transaction,
    create_document,
    transactions_document,
)
from pgbourse.client.again import places_orders, problem_of_repeating
from pgbourse.client.features import expect_features, needed_features


def asked(*items: Transaction, account: str = "1") -> bytes:
    return transactions_document(account, *items)


@pytest.mark.parametrize(
    "documents",
    [
        [asked(Order("X", 1, 1, ref="a"), Replace(4, amount=1, limit=1, ref="b"), Cancel(4), Query(ref="a"))],
        [asked(Reduce(4, to=3)), asked(ArmSwitch(3)), asked(DisarmSwitch(), LookAccount(), LookBook("X"))],
        [asked(Order("X", 1, 1, ref="a")), asked(CancelAll())],
        [asked(CancelAll("X")), asked(Order("X", 1, 1, ref="a"), account="2")],
        [asked(ArmSwitch(3), Order("X", 1, 1, ref="a"))],
        [create_document(NewAccount("1", 2), NewSymbol("X"))],
        [b"no XML", b"<nonsense/>", asked(ListOrders())],
    ],
)
def test_what_happens_only_once_may_be_sent_again(documents: list[bytes]) -> None:
    assert problem_of_repeating(documents) is None


@pytest.mark.parametrize(
    ("documents", "problem"),
    [
        ([asked(Query(1)), asked(Order("X", 1, 1))], "<order> without a ref would be placed twice"),
        ([asked(Replace(4, amount=1, limit=1))], "<replace> without a ref would be placed twice"),
        ([asked(Reduce(4, shares=1))], "<reduce> by shares would cancel them twice: say to how many"),
        ([create_document(Grant("X", "1", 1))], "shares would be granted twice"),
        (
            [asked(CancelAll()), asked(Order("X", 1, 1, ref="a"))],
            "the first <cancel all> would cancel what was ordered after it",
        ),
        (
            [asked(CancelAll("X"), Replace(4, amount=1, limit=1, ref="a"))],
            "the first <cancel all> would cancel what was ordered after it",
        ),
    ],
)
def test_what_would_happen_twice_is_told(documents: list[bytes], problem: str) -> None:
    assert problem_of_repeating(documents) == problem


def test_documents_that_place_orders_are_told_from_others() -> None:
    assert places_orders([asked(Query(1)), asked(Order("X", 1, 1))])
    assert places_orders([asked(Replace(4, amount=1, limit=1))])
    assert not places_orders([asked(Query(1), Cancel(2), CancelAll())])


@pytest.mark.parametrize(
    ("item", "features"),
    [
        (Order("X", 1, 1), ""),
        (Order("X", 1, 1, ref="a", tif="IOC", stp="taker"), "ref tif stp"),
        (Order("X", 1, 1, post=True), "post"),
        (Order("X", 1, budget=3), "market"),
        (Order("X", -1, type="market"), "market"),
        (Replace(1, amount=1, limit=1), "replace"),
        (Replace(of="a", amount=1, limit=1, tif="FOK", post=True), "replace ref tif post"),
        (Replace(1, amount=1, limit=1, ref="b"), "replace ref"),
        (Reduce(1, to=1), "reduce"),
        (Reduce(ref="a", to=1), "reduce ref"),
        (Query(1), ""),
        (Query(ref="a"), "ref"),
        (Cancel(1), ""),
        (Cancel(ref="a"), "ref"),
        (CancelAll(), "cancel-all"),
        (ArmSwitch(1), "cancel-after"),
        (DisarmSwitch(), "cancel-after"),
        (LookAccount(), "account"),
        (ListOrders(), "orders"),
        (LookBook("X"), "book"),
    ],
)
def test_a_request_needs_what_it_uses(item: Transaction, features: str) -> None:
    assert needed_features([Query(1), item]) == set(features.split())


def test_what_a_server_lacks_is_named() -> None:
    expect_features(Server("0.2.0", frozenset({"ref", "tif"})), {"tif"})
    with pytest.raises(NotSupported, match=r"does not know book, stp \(pgbourse 0\.2\.0\): nothing was sent"):
        expect_features(Server("0.2.0", frozenset({"ref"})), {"stp", "book"})
    with pytest.raises(NotSupported, match=r"does not know ref \(it has no <server/>\)"):
        expect_features(Server(None, frozenset()), {"ref"})
