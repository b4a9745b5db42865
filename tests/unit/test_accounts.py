"""Documents that have an account to themselves, and those that wait for it."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import cast

import pytest

from pgbourse.serve.accounts import Accounts, sequences_of
from pgbourse.serve.portions import Portion
from pgbourse.serve.turns import Peer, Turn
from pgbourse.wire.framing import Frame, Framing
from pgbourse.wire.messages import Document, Request, ResultRow, Terms

SHARE = 40


def order(account: int = 1) -> Request:
    return Request("place_order", str(account), "X", "1", "1")


def cancel_all(account: int = 1) -> Request:
    return Request("cancel_all", str(account), terms=Terms())


def refd(account: int = 1) -> Request:
    return order(account)._replace(terms=Terms(ref="a"))


def look(account: int = 1) -> Request:
    return Request("look_account", str(account), terms=Terms())


def plain(account: int = 1, count: int = 2) -> list[Request]:
    return [order(account)] * count


def whole(account: int = 1, count: int = 2) -> list[Request]:
    """A document that must not be interrupted."""
    return [*plain(account, count - 1), cancel_all(account)]


def turn_of(*documents: list[Request]) -> Turn:
    turn = Turn(cast("Peer", SimpleNamespace(certificate_name=None, put_back=len)))
    for requests in documents:
        is_plain = all(request.terms is None for request in requests)
        turn.add(Frame(b"", Framing.LENGTH_LINE), Document([*requests], [*requests], is_plain=is_plain))
    return turn


def portion_of(turn: Turn, most: int = 1000, fronts: int = 0) -> Portion:
    return turn.portion(most, 1, fronts, SHARE)


def carry_out(portion: Portion, count: int = 1000) -> None:
    """Give so many requests of a portion a result, and let the turn go on."""
    count = min(count, len(portion.requests))
    portion.results[:count] = [[ResultRow(0, "opened", 1)]] * count
    _, results = portion.take_results()
    portion.turn.take_results(results)
    if portion.requests:
        portion.turn.take_back(portion)


def sizes(turn: Turn, most: int = 1000) -> list[tuple[int, bool]]:
    """How many requests each portion of a turn has, and whether it must not be interrupted."""
    found = []
    while turn.left:
        portion = portion_of(turn, most)
        found.append((len(portion.requests), portion.is_whole))
        carry_out(portion)
    return found


def test_what_must_not_be_interrupted_is_a_portion_of_its_own() -> None:
    assert sizes(turn_of(plain(), plain(), whole(count=3), whole(), plain())) == [
        (4, False),
        (3, True),
        (2, True),
        (2, False),
    ]


@pytest.mark.parametrize("single", [[order()], [cancel_all()]])
def test_a_single_request_can_not_be_interrupted(single: list[Request]) -> None:
    assert sizes(turn_of(single, single)) == [(2, False)]


def test_it_is_cut_only_if_it_is_larger_than_a_share() -> None:
    assert sizes(turn_of(whole(count=SHARE)), most=10) == [(SHARE, True)]
    assert sizes(turn_of(whole(count=SHARE + 1)), most=30) == [(30, True), (SHARE - 29, True)]


def test_orders_alone_go_to_who_reserves_and_others_with_orders_do_not() -> None:
    assert portion_of(turn_of(plain(count=3)), fronts=1).front == 0
    portion = portion_of(turn_of(whole(count=3)), fronts=1)
    assert (portion.front, len(portion.requests)) == (-1, 3)


def test_orders_that_follow_each_other_go_to_one_lane_or_none() -> None:
    """Lanes do those of several symbols side by side."""
    other = refd()._replace(sym="Y")
    assert portion_of(turn_of([refd(), refd()]), fronts=1).front == 0
    portion = portion_of(turn_of([refd(), other, refd()]), fronts=1)
    assert (portion.front, len(portion.requests)) == (-1, 3)
    # Of the base protocol, or of several documents.
    assert portion_of(turn_of([order(), order()._replace(sym="Y")]), fronts=1).front == 0
    portion = portion_of(turn_of([refd()], [other]), fronts=1)
    assert (portion.front, len(portion.requests)) == (0, 2)


def test_what_has_no_result_stays_together() -> None:
    turn = turn_of(whole(count=20))
    portion = portion_of(turn)
    carry_out(portion, 0)
    assert portion_of(turn) is portion


@pytest.fixture
def went_on() -> list[Turn]:
    return []


@pytest.fixture
def accounts(went_on: list[Turn]) -> Accounts:
    return Accounts(went_on.extend, lambda turn, _: went_on.append(turn))


def admit(accounts: Accounts, *turns: Turn, most: int = 1000, fronts: int = 0) -> list[Portion]:
    return accounts.admit([portion_of(turn, most, fronts) for turn in turns])


def end(accounts: Accounts, portion: Portion) -> None:
    """Let a portion have all its results."""
    accounts.end([portion])
    carry_out(portion)
    accounts.release(portion.turn)


@pytest.mark.parametrize("document", [plain(), whole(), [cancel_all()]])
def test_others_wait_until_the_document_has_ended(
    accounts: Accounts, went_on: list[Turn], document: list[Request]
) -> None:
    first, other, third = turn_of(whole(count=60), plain()), turn_of(document), turn_of(whole(2))
    (portion,) = admit(accounts, first, most=40)
    waiting, alone = admit(accounts, other, third)
    assert (waiting.requests, waiting.waits_for, waiting.front) == ([], "1", -1)
    assert len(alone.requests) == 2
    accounts.wait(other, "1")
    end(accounts, portion)
    assert went_on == []
    (portion,) = admit(accounts, first)
    assert len(portion.requests) == 20
    end(accounts, portion)
    assert went_on == [other]
    (portion,) = admit(accounts, other)
    assert len(portion.requests) == len(document)


def test_who_would_wait_for_what_has_ended_goes_on(accounts: Accounts, went_on: list[Turn]) -> None:
    turn = turn_of(plain())
    accounts.wait(turn, "1")
    assert went_on == [turn]


@pytest.mark.parametrize("ends", [Turn.drop, Turn.put_back])
def test_a_document_that_is_put_back_or_dropped_has_no_account(
    accounts: Accounts, went_on: list[Turn], ends: Callable[[Turn], object]
) -> None:
    first, other = turn_of(whole()), turn_of(whole())
    (portion,) = admit(accounts, first)
    (waiting,) = admit(accounts, other)
    accounts.wait(other, waiting.waits_for)
    first.give_back(len(portion.requests))
    ends(first)
    accounts.release(first)
    assert went_on == [other]


def test_documents_of_one_batch_have_the_account_together(accounts: Accounts, went_on: list[Turn]) -> None:
    one, two, late = turn_of(whole()), turn_of(whole()), turn_of(plain())
    portions = admit(accounts, one, two)
    assert [len(portion.requests) for portion in portions] == [2, 2]
    (waiting,) = admit(accounts, late)
    accounts.wait(late, waiting.waits_for)
    for portion, expected in zip(portions, ([], [late]), strict=True):
        end(accounts, portion)
        assert went_on == expected


def test_what_another_worker_carries_out_waits_also_in_one_batch(accounts: Accounts) -> None:
    portions = admit(accounts, turn_of(whole()), turn_of(plain()), fronts=1)
    assert [portion.waits_for for portion in portions] == ["", "1"]


@pytest.mark.parametrize(
    ("document", "most", "fronts"),
    [(whole(count=60), 30, 0), ([refd(), refd()], 1000, 1), ([look(), look()], 1000, 0)],
    ids=["cut", "lanes", "looks"],
)
def test_what_needs_calm_begins_when_what_came_before_has_ended(
    accounts: Accounts, went_on: list[Turn], document: list[Request], most: int, fronts: int
) -> None:
    before, whose, after = turn_of(plain()), turn_of(document), turn_of(plain())
    (early,) = admit(accounts, before)
    for _ in range(2):
        (waiting,) = admit(accounts, whose, most=most, fronts=fronts)
        assert (waiting.requests, waiting.waits_for) == ([], "1")
        accounts.wait(whose, "1")
        assert went_on.pop() is whose
    (late,) = admit(accounts, after)
    assert late.waits_for == "1"
    accounts.wait(after, "1")
    end(accounts, early)
    (portion,) = admit(accounts, whose, most=most, fronts=fronts)
    assert portion.requests == document[:most]
    assert went_on == []


def test_what_takes_one_call_waits_for_nothing_before_it(accounts: Accounts) -> None:
    admit(accounts, turn_of(plain()))
    (portion,) = admit(accounts, turn_of(whole()))
    assert len(portion.requests) == 2


def test_portions_of_one_account_are_one_sequence_if_any_must_not_be_interrupted() -> None:
    def sequences(*documents: list[Request]) -> list[int]:
        return list(sequences_of([portion_of(turn_of(document)) for document in documents]))

    assert sequences(plain(1), plain(1), plain(2)) == [1, 2, 3]
    assert sequences(plain(1), whole(1), plain(2), [cancel_all(1)]) == [1, 1, 3, 1]
    assert sequences(plain(3), plain(3), whole(1)) == [1, 2, 3]
    both = [order(1), order(2)]
    assert sequences(whole(1), whole(2), both, plain(2), plain(3)) == [1, 1, 1, 1, 5]
