"""What follows a portion: its turn takes the results, replies go out, and the turn goes on or is let go."""

import logging
from collections.abc import Callable, Iterable, Sequence

from pgbourse.serve.accounts import Accounts
from pgbourse.serve.counts import Count
from pgbourse.serve.feed import Feed
from pgbourse.serve.portions import Portion
from pgbourse.serve.reader import LARGE, Reader
from pgbourse.serve.ready import Ready
from pgbourse.serve.tally import Tally
from pgbourse.serve.turns import Turn
from pgbourse.serve.writegate import WriteGate
from pgbourse.wire.framing import Framing, wrap_reply
from pgbourse.wire.messages import FeedDocument

__all__ = ["Answering"]

_log = logging.getLogger("pgbourse.dispatch")


# Seconds for which a turn is set aside whose next request needs what somebody else has locked: at first, for
# it may be another gateway's short transaction, and at most.
_FIRST_ASIDE = 0.002
_LAST_ASIDE = 0.2


class Answering:
    """Where turns go after a portion. Any worker may call this, for turns that it has in hand."""

    def __init__(
        self,
        ready: Ready,
        accounts: Accounts,
        gate: WriteGate[Turn],
        reader: Reader,
        reply_framing: str,
        new_feed: Callable[[Callable[[Turn], None]], Feed],
    ) -> None:
        """`new_feed` makes the feed, given where turns go after it."""
        self.feed = new_feed(self._go_on)
        self._ready = ready
        self._accounts = accounts
        self._gate = gate
        self._reader = reader
        self._mirrors = reply_framing == "mirror"  # a reply has the framing of its document, and else:
        self._framing = Framing.LENGTH_LINE if reply_framing == "length" else None

    def finish(self, portions: Sequence[Portion], taken: Count, tally: Tally | None, *, wakes: bool) -> None:
        """Answer the documents that these portions have completed, and let the turns go on.

        `taken` is the caller's count of documents that have been taken from clients. It `wakes` a worker in
        front unless the caller is one.
        """
        go_on: list[Turn] = []
        let_go = 0
        self._accounts.end(portions)
        for portion in portions:
            try:
                stays = self._finish(portion, taken, tally)
            except Exception:  # noqa: BLE001 - a bug of ours, logged as such, must not end the worker
                _log.exception("closing %d clients after an unforeseen error", 1)
                self._abandon(portion.turn, taken)
                stays = False
            turn = portion.turn
            if not stays:
                let_go += 1
            elif turn.asked:
                self.feed.ask(turn)
            elif portion.requests:
                turn.take_back(portion)
                if portion.is_locked or turn.tries:
                    seconds = min(_LAST_ASIDE, _FIRST_ASIDE * 2.0 ** min(turn.tries, 10))
                    self._ready.set_aside(turn, seconds)
                else:
                    go_on.append(turn)
            elif portion.waits:
                frames = turn.put_back()
                self._reader.let_go(frames)
                taken.add_frames(frames, -1)
                let_go += 1  # until the gate submits it anew
                self._accounts.release(turn)
                self._gate.wait(turn)
            elif portion.waits_for:
                self._accounts.wait(turn, portion.waits_for)
            elif turn.wants_reader:
                self._reader.add(turn)
            else:
                go_on.append(turn)
        self._ready.bring_back(go_on, let_go, wakes=wakes)

    def abandon(self, turns: Iterable[Turn], taken: Count) -> None:
        """Close these clients without a reply to what is in hand."""
        count = 0
        for turn in turns:
            self._abandon(turn, taken)
            count += 1
        self._ready.bring_back((), count)

    def close(self, portions: Sequence[Portion], taken: Count) -> None:
        """Close these clients now, although their portions are not done: nobody waits for what they bring."""
        for portion in portions:
            taken.add_frames(portion.turn.peer.abandon())

    def _finish(self, portion: Portion, taken: Count, tally: Tally | None) -> bool:
        """Send a client its replies, and return whether its turn goes on.

        At the first document of unknown fate, close its connection instead.
        """
        turn = portion.turn
        requests, results = portion.take_results()
        items = turn.take_results(results)
        if turn.account is not None:
            self._accounts.release(turn)
        if items and len(items[0].frame.document) > LARGE:  # which only the first can be
            self._reader.let_go([items[0].frame])
        answered = items
        if turn.is_feed:
            turn.asked = [item.document for item in items if isinstance(item.document, FeedDocument)]
            answered = items[: len(items) - len(turn.asked)]
        framing, mirrors = self._framing, self._mirrors
        replies = b"".join(
            [wrap_reply(item.reply(), item.frame.framing if mirrors else framing) for item in answered]
        )
        if tally is not None:
            tally.ended([*requests, *portion.requests], results, lost=portion.lost)
        # If the client doesn't stay, its turn may be in other hands as soon as it has its replies.
        unfinished = turn.unfinished
        if portion.lost:
            if replies:
                turn.peer.answer(replies, unfinished=True)
            self._abandon(turn, taken)
            stays = False
        elif turn.asked:
            stays = turn.peer.answer(replies, unfinished=True)
        elif replies or not unfinished:
            stays = turn.peer.answer(replies, unfinished=unfinished)
        else:
            stays = True
        if tally is not None:
            tally.answered(items)
        return stays

    def _go_on(self, turn: Turn) -> None:
        """Let a turn go on whose documents the feed has answered."""
        if not turn.peer.answer(b"", unfinished=turn.unfinished):
            self._ready.bring_back((), 1)
        elif turn.wants_reader:
            self._reader.add(turn)
        else:
            self._ready.bring_back([turn])

    def _abandon(self, turn: Turn, taken: Count) -> None:
        self._reader.let_go(item.frame for item in turn.drop())
        if turn.large is not None:
            taken.add_frames([turn.large])
            turn.large = None
        self._accounts.release(turn)
        taken.add_frames(turn.peer.abandon())
