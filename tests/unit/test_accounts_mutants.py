"""The tests of documents that aren't interrupted fail on gateways that let others come in between."""

from collections.abc import Callable
from typing import Any

import pytest

from pgbourse.serve.accounts import Accounts
from pgbourse.serve.turns import Turn
from tests.unit import test_accounts as tests
from tests.unit.test_accounts import accounts, order, refd, went_on, whole

__all__ = ["accounts", "went_on"]  # fixtures

Patch = pytest.MonkeyPatch
Test = Callable[[Accounts, list[Turn]], Any]


def nobody_waits(patch: Patch) -> None:
    patch.setattr(Accounts, "admit", lambda _, portions: list(portions))


def nobody_has_an_account(patch: Patch) -> None:
    patch.setattr(Turn, "needs_account", property(lambda _: False))


def nobody_needs_calm(patch: Patch) -> None:
    patch.setattr(Turn, "needs_calm", lambda *_: False)


def each_is_a_sequence(patch: Patch) -> None:
    patch.setattr(tests, "sequences_of", lambda portions: range(1, len(portions) + 1))


def all_are_one_sequence(patch: Patch) -> None:
    patch.setattr(tests, "sequences_of", lambda portions: [1] * len(portions))


def who_waits_is_forgotten(patch: Patch) -> None:
    patch.setattr(Accounts, "release", lambda *_: None)


def lanes_do_several_symbols(patch: Patch) -> None:
    patch.setattr("pgbourse.serve.turns._has_several_symbols", lambda _: False)


def in_one_lane(*_: object) -> None:
    tests.test_orders_that_follow_each_other_go_to_one_lane_or_none()


def waiting(accounts: Accounts, went_on: list[Turn]) -> None:
    tests.test_others_wait_until_the_document_has_ended(accounts, went_on, whole())


def waiting_for_calm(accounts: Accounts, went_on: list[Turn]) -> None:
    tests.test_what_needs_calm_begins_when_what_came_before_has_ended(
        accounts, went_on, [refd(), order()], 1000, 1
    )


def together(*_: object) -> None:
    tests.test_portions_of_one_account_are_one_sequence_if_any_must_not_be_interrupted()


MUTANTS: dict[str, tuple[Callable[[Patch], None], Test]] = {
    "nobody waits": (nobody_waits, waiting),
    "nobody has an account for longer than a call": (nobody_has_an_account, waiting),
    "what came before goes on": (nobody_needs_calm, waiting_for_calm),
    "each portion is a sequence": (each_is_a_sequence, together),
    "all portions are one sequence": (all_are_one_sequence, together),
    "lanes do the orders of a document side by side": (lanes_do_several_symbols, in_one_lane),
    "who waits is forgotten": (who_waits_is_forgotten, waiting),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_is_found(
    accounts: Accounts,
    went_on: list[Turn],
    monkeypatch: Patch,
    mutant: str,
) -> None:
    change, test = MUTANTS[mutant]
    change(monkeypatch)
    with pytest.raises(AssertionError):
        test(accounts, went_on)


@pytest.mark.parametrize(
    "test", [waiting, waiting_for_calm, together, in_one_lane], ids=lambda test: test.__name__
)
def test_without_a_mutant_nothing_is_found(accounts: Accounts, went_on: list[Turn], test: Test) -> None:
    test(accounts, went_on)
