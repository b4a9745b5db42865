"""Accounts that a document has to itself: what others want of them waits until it has ended.

The children of a document that uses more than the base protocol are done one after the other, without those
of another document of the account in between. What changes anything in one transaction is so by itself. This
is for what takes several calls, because it is cut or goes through lanes, and for what only looks.
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter

from pgbourse.serve.portions import Portion
from pgbourse.serve.turns import Turn

__all__ = ["Accounts", "sequences_of"]

# Seconds for which a document is set aside that waits for the last of those that began before it.
_ASIDE = 0.001

_is_whole = attrgetter("is_whole")


class Accounts:
    """Who has which account to itself, and who waits for it.

    One lock guards that. What is under way is a set, each change of which is atomic.
    """

    def __init__(
        self, go_on: Callable[[Sequence[Turn]], None], set_aside: Callable[[Turn, float], None]
    ) -> None:
        """Take what to do with turns that have waited, and with one that tries again in so many seconds."""
        self._go_on = go_on
        self._set_aside = set_aside
        self._under_way: set[Portion] = set()
        self._lock = threading.Lock()
        self._holders: dict[str, set[Turn]] = {}  # several only if one batch has documents of all of them
        self._waiting: dict[str, list[Turn]] = {}

    def admit(self, portions: Sequence[Portion]) -> list[Portion]:
        """Let the documents of one batch have the accounts that they need to themselves.

        A portion that needs an account which another batch's document has goes back to its turn; so does one
        that needs calm, while others of its account are under way. An empty one, which says for which account
        it waits, stands in its place.
        """
        # First this, then who has accounts; below it is the other way round. So one of two sees the other.
        self._under_way.update(portions)
        if not self._holders and not any(map(_is_whole, portions)):
            return list(portions)
        ours: dict[str, int] = {}  # accounts that documents of this batch have, and who carries these out
        with self._lock:
            return [self._admit(portion, portions, ours) for portion in portions]

    def _admit(self, portion: Portion, batch: Sequence[Portion], ours: dict[str, int]) -> Portion:
        turn = portion.turn
        if turn.account is None:
            for account_id in portion.accounts:
                if account_id in self._holders and ours.get(account_id) != portion.front:
                    return self._give_back(portion, account_id)
            if portion.is_whole:
                (account_id,) = portion.accounts
                turn.have(account_id)
                self._holders.setdefault(account_id, set()).add(turn)
                ours[account_id] = portion.front
        if turn.account is not None and turn.needs_calm(portion):
            in_one_call = [other for other in batch if other.front == portion.front]
            before = self._under_way.difference(in_one_call)
            if any(turn.account in other.accounts for other in before):
                return self._give_back(portion, turn.account)
        return portion

    def _give_back(self, portion: Portion, account_id: str) -> Portion:
        self._under_way.discard(portion)
        return portion.turn.wait_for(account_id, portion)

    def end(self, portions: Iterable[Portion]) -> None:
        """Take note that these portions are not under way any more."""
        self._under_way.difference_update(portions)

    def wait(self, turn: Turn, account_id: str) -> None:
        """Let a turn go on once nobody else has this account to itself."""
        if turn.account is not None:
            self._set_aside(turn, _ASIDE)
            return
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
        for account_id in portion.accounts:
            one, other = leader(place), leader(first.setdefault(account_id, place))
            leaders[max(one, other)] = min(one, other)
    joined = {leader(place) for place, portion in enumerate(portions) if portion.is_whole}
    return [(leader(place) if leader(place) in joined else place) + 1 for place in range(len(portions))]
