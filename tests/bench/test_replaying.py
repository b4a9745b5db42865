"""The measurement of replays runs."""

import re
from pathlib import Path

import pytest

from pgbourse.replay.export import export
from tests.bench.replaying import main
from tests.sql.market import Connection, Market


def test_a_small_history_is_measured(
    connection: Connection, database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    market = Market(connection)
    market.account("1", 1000)
    market.grant("1", "X", 1)
    for _ in range(30):
        market.cancel("1", market.place("1", "X", 1, 1))
    export(database, path := tmp_path / "history.jsonl")
    main([str(path), "--batches", "1,20", "--rounds", "1"])
    lines = capsys.readouterr().out.splitlines()
    assert [int(line.split()[0]) for line in lines] == [1, 20]
    assert all(re.search(r": +[0-9,]+ orders/s, +[0-9,]+ a second of CPU$", line) for line in lines), lines
