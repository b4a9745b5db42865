"""How far back the tape goes for the last trades, and how it shows them."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from pgbourse.client import Snapshot
from pgbourse.look import trades
from pgbourse.look.asking import ServerAddress
from pgbourse.look.sheets import plain
from pgbourse.look.tape import tape_line, tape_sheet
from pgbourse.look.trades import TapeTrade, last_trades

SERVER = ServerAddress("nowhere", 1)
AT = datetime(2026, 11, 27, 12, 30, 15, 123456, tzinfo=UTC)


def trade(seq: int) -> TapeTrade:
    return TapeTrade("X", seq, AT, Decimal("99.5"), Decimal(seq), seq, seq + 1, "sell")


@pytest.mark.parametrize("newest", [0, 1, 50, 1000, 5000])
@pytest.mark.parametrize("oldest", [1, 2, 40, 990])
@pytest.mark.parametrize("every", [1, 7, 500])
@pytest.mark.parametrize("number", [0, 1, 3, 150])
def test_the_last_trades_that_are_kept_are_found(
    monkeypatch: pytest.MonkeyPatch, newest: int, oldest: int, every: int, number: int
) -> None:
    """Of `newest` updates those from `oldest` on are kept, and each so many-th has a trade."""
    asked = []

    def trades_since(_: ServerAddress, __: str, start: int, until: int) -> list[TapeTrade] | None:
        assert 1 <= start <= until == newest
        asked.append(start)
        if start < oldest:
            return None
        return [trade(seq) for seq in range(start, until + 1) if seq % every == 0]

    monkeypatch.setattr(trades, "take_snapshot", lambda *_: Snapshot("X", newest, ()))
    monkeypatch.setattr(trades, "_trades_since", trades_since)
    kept = [seq for seq in range(min(oldest, newest + 1), newest + 1) if seq % every == 0]
    found, seq = last_trades(SERVER, "X", number)
    assert seq == newest
    assert [trade.seq for trade in found] == kept[max(0, len(kept) - number) :]
    assert len(asked) == len(set(asked)) <= 20


def test_trades_as_text() -> None:
    lines = plain(tape_sheet("X", [trade(7), trade(10)])).splitlines()
    assert [line.split()[2:] for line in lines[2:]] == [["sell", "7", "99.5", "7", "8"],
                                                        ["sell", "10", "99.5", "10", "11"]]  # fmt: skip
    assert plain(tape_sheet("X", [])) == "X, no trades"
    assert tape_line(trade(7)).split()[2:] == ["sell", "7", "X", "@", "99.5"]
    assert tape_line(trade(7)).split()[1].endswith(":15.123")
