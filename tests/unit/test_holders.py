"""How a line tells who holds what."""

import pytest

from pgbourse.database.holders import Holder, describe

ALICE = Holder(4711, "psql", "alice", "idle in transaction", 12.4, False, ["SPY"], None)


@pytest.mark.parametrize(
    ("holder", "line"),
    [
        (ALICE, "pid 4711 (psql, alice) has held symbol SPY for 12 s, idle in transaction"),
        (
            ALICE._replace(application_name="", creates=True, symbols=["A", "B"], accounts=["1"]),
            "pid 4711 (alice) has held the lock of creation and symbols A, B and account 1 for 12 s, "
            "idle in transaction",
        ),
        (
            ALICE._replace(symbols=[], accounts=["1", "2", "3", "4", "5"], state="active"),
            "pid 4711 (psql, alice) has held accounts 1, 2, 3 and 2 more for 12 s, active",
        ),
        (
            ALICE._replace(symbols=[], accounts=[], state=None, seconds=None),
            "pid 4711 (psql, alice) has held accounts for some time",
        ),
        (
            Holder(None, None, None, "prepared", None, False, ["X"], None),
            "a prepared transaction has held symbol X for some time",
        ),
    ],
)
def test_a_holder_in_words(holder: Holder, line: str) -> None:
    assert describe([holder]) == line


def test_three_are_told_and_the_rest_counted() -> None:
    assert describe([]) == ""
    line = describe([ALICE._replace(pid=pid) for pid in range(5)])
    assert [part.split(" (")[0] for part in line.split("; ")] == ["pid 0", "pid 1", "pid 2", "2 more"]
