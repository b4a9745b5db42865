"""A portion has fewer requests if they take long, so that no call takes much longer than others."""

import pytest

from pgbourse.serve import turns
from pgbourse.wire.messages import Request, Terms
from tests.unit.test_accounts import cancel_all, carry_out, look, plain, refd, turn_of

# Requests of a call: then about 100 ms.
MOST = 1000


def replace() -> Request:
    return Request("replace_order", "1", None, "1", "1", 1, terms=Terms())


def sizes(document: list[Request], share: int = MOST) -> list[int]:
    """How many requests each portion of a document has, for a client with this share of a batch."""
    turn = turn_of(document)
    found = []
    while turn.left:
        portion = turn.portion(share, 1, 0, share)
        found.append(len(portion.requests))
        carry_out(portion)
    assert sum(found) == len(document)
    return found


def replaces_are_cut() -> None:
    assert sizes([replace()] * 120) == [50, 50, 20]
    assert sizes([replace()] * 50, share=40) == [20, 20, 10]


def test_what_takes_long_is_cut_into_smaller_portions() -> None:
    replaces_are_cut()
    assert sizes([look()] * 250) == [100, 100, 50]
    assert sizes([cancel_all()] * 60) == [50, 10]


def test_small_documents_are_one_portion_however_small_a_share_is() -> None:
    assert sizes([replace()] * 20, share=40) == [20]
    assert sizes([*plain(count=30), cancel_all()], share=40) == [31]


def test_orders_count_as_ever() -> None:
    assert sizes([refd()] * 2000) == [1000, 1000]
    assert sizes(plain(count=2000)) == [1000, 1000]
    assert sizes([*plain(count=990), replace()]) == [990, 1]


def test_requests_that_all_count_alike_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "affordable", lambda requests, _: len(requests))
    with pytest.raises(AssertionError):
        replaces_are_cut()
