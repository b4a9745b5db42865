"""Accounts that a document has to itself: what others want of them waits until it has ended.

The children of a document that uses more than the base protocol are done one after the other, without those
of another document of the account in between. What the database does in one transaction is so by itself. This
is for what takes several calls: documents that are cut, or go through lanes.
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter

from pgbourse.serve.turns import Portion, Turn

__all__ = ["Accounts", "sequences_of"]

_is_whole: Callable[[Portion], bool] = attrgetter("is_whole")


class Accounts:
    """Who has which account to itself, and who waits for it. One lock guards everything."""

    def __init__(self, go_on: Callable[[Sequence[Turn]], None]) -> None:
        """Take what to do with turns that have waited."""
        self._go_on = go_on
        self._lock = threading.Lock()
        self._holders: dict[str, set[Turn]] = {}  # several only if one batch has documents of all of them
        self._waiting: dict[str, list[Turn]] = {}

    def admit(self, portions: Sequence[Portion]) -> list[Portion]:
        """Let the documents of one batch have the accounts that they need to themselves.

        A portion that needs an account which another batch's document has goes back to its turn. An empty
        one, which says for which account it waits, stands in its place.
        """
        if not self._holders and not any(map(_is_whole, portions)):
            return list(portions)
        ours: dict[str, int] = {}  # accounts that documents of this batch have, and who carries these out
        with self._lock:
            return [self._admit(portion, ours) for portion in portions]

    def _admit(self, portion: Portion, ours: dict[str, int]) -> Portion:
        turn = portion.turn
        if turn.account is not None:  # goes on with what it has begun
            return portion
        for account_id in _accounts_of(portion):
            if account_id in self._holders and ours.get(account_id) != portion.front:
                return turn.wait_for(account_id, portion)
        if portion.is_whole:
            (account_id,) = _accounts_of(portion)
            turn.have(account_id)
            self._holders.setdefault(account_id, set()).add(turn)
            ours[account_id] = portion.front
        return portion

    def wait(self, turn: Turn, account_id: str) -> None:
        """Let a turn go on once nobody has this account to itself."""
        with self._lock:
            if account_id in self._holders:
                self._waiting.setdefault(account_id, []).append(turn)
                return
        self._go_on([turn])

    def release(self, turn: Turn) -> None:
        """Let others have the account that this turn has had, if it doesn't need it any more."""
        account_id = turn.account
        if account_id is None or turn.needs_account:
            return
        turn.account = None
        with self._lock:
            holders = self._holders[account_id]
            holders.discard(turn)
            if holders:
                return
            del self._holders[account_id]
            waiting = self._waiting.pop(account_id, [])
        if waiting:
            self._go_on(waiting)


def sequences_of(portions: Sequence[Portion]) -> Iterable[int]:
    """Return the sequence number of each portion of a batch.

    Portions that share an account have one number if any of them must not be interrupted. So the database
    does one after the other.
    """
    if not any(map(_is_whole, portions)):
        return range(1, len(portions) + 1)
    leaders = list(range(len(portions)))  # of each an earlier one that it belongs to, or itself
    first: dict[str, int] = {}

    def leader(place: int) -> int:
        while leaders[place] != place:
            place = leaders[place]
        return place

    for place, portion in enumerate(portions):
        for account_id in _accounts_of(portion):
            one, other = leader(place), leader(first.setdefault(account_id, place))
            leaders[max(one, other)] = min(one, other)
    joined = {leader(place) for place, portion in enumerate(portions) if portion.is_whole}
    return [(leader(place) if leader(place) in joined else place) + 1 for place in range(len(portions))]


def _accounts_of(portion: Portion) -> set[str]:
    """Return the accounts that its requests are of; a symbol that is created is nobody's."""
    return {request.account_id for request in portion.requests if request.account_id is not None}
