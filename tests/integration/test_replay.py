"""`pgbourse export` and `pgbourse replay`: a history that is carried out again comes out the same.

PGBOURSE_FUZZ_BATCHES says how many documents each client sends (default 60), PGBOURSE_FUZZ_FIRST_SEED where
to begin (default 0).
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click
import psycopg
import pytest
from click.testing import CliRunner, Result

from pgbourse.cli import cli
from pgbourse.database.looking import LookError
from pgbourse.replay.export import ExportError, export
from pgbourse.replay.history import HistoryError
from pgbourse.replay.lines import LinesError
from pgbourse.replay.replay import Replayed, ReplayError, replay
from pgbourse.serve import gathering
from pgbourse.testing import open_exchange
from pgbourse.testing.emptying import Emptier
from tests.integration.client import wait_until
from tests.integration.conftest import Gateway, Session, StartGateway
from tests.integration.elements import write
from tests.sql.market import Market, Request
from tests.sql.trading import Trading, names

DOCUMENTS = int(os.environ.get("PGBOURSE_FUZZ_BATCHES", "60"))
FIRST_SEED = int(os.environ.get("PGBOURSE_FUZZ_FIRST_SEED", "0"))
ACCOUNTS, SYMBOLS, CLIENTS = 6, 3, 4

Line = dict[str, Any]


@pytest.fixture
def market(connection: Session) -> Market:
    return Market(connection)


@pytest.fixture
def traded(market: Market) -> Market:
    """A small market, with something of each kind of event in it, and gaps in the ids."""
    for account, cash in (("1", 1000), ("2", "0"), ("007", "2500.50")):
        market.account(account, cash)
    market.grant("2", "X", "60.5")
    market.place("1", "X", 10, "9.50")  # 1
    market.place("1", "X", 10, 9)
    market.connection.execute("select nextval('exchange.order_ids'), nextval('exchange.entry_ids')")
    market.place("2", "X", -15, 9)  # 4: fills 1 and a half of 2
    market.grant("007", "Y", 5)
    market.cancel("1", 2)
    for statement in (
        "place_order('2', 'X', -20, 12, ref => 'a7', tif => 'GTC')",
        "reduce_order('2', 5, shares => 2.5)",
        "replace_order('2', 5, -8, 11, post => true)",  # 6
        "place_order('007', 'X', 10.0, type => 'market', budget => 100)",  # 7: 8, and 10.9 would pay for 1
        "place_order('007', 'Y', -5, 3)",
        "place_order('007', 'Y', 2, 3, stp => 'both')",  # 9, which passes 8
        "place_order('1', 'Y', 4, 2)",
        "halt_symbol('Y')",
        "freeze_account('007')",
    ):
        market.connection.execute(f"select exchange.{statement}".encode())
    assert market.violations() == []
    return market


def run(*arguments: object) -> Result:
    texts = [str(argument) for argument in arguments]
    return CliRunner().invoke(cli, texts, catch_exceptions=False, standalone_mode=False)


def lines_of(path: Path) -> list[Line]:
    return [json.loads(text) for text in path.read_text().splitlines()]


def rewrite(path: Path, change: Callable[[list[Line]], object]) -> None:
    """Change the lines of a file, and let its last line count them."""
    lines = lines_of(path)
    change(lines)
    lines[-1]["end"] = len(lines)
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))


def find(lines: list[Line], kind: str, **values: object) -> Line:
    """Return the one line of a kind that says these things."""
    found = [line for line in lines if kind in line.values() and values.items() <= line.items()]
    assert len(found) == 1, found
    return found[0]


def test_an_export_is_read_with_plain_json(traded: Market, database: str, tmp_path: Path) -> None:
    export(database, path := tmp_path / "history.jsonl")
    lines = lines_of(path)
    assert lines[0].items() >= {"format": "pgbourse history", "version": 1, "orders": 9, "fills": 3}.items()
    for line in lines:
        line.pop("at", None)
    post = {"post": False}
    x, y = {"sym": "X"}, {"sym": "Y"}
    assert lines[1:-1] == [
        {"event": "account", "account": "1", "balance": "1000"},
        {"event": "account", "account": "2", "balance": "0"},
        {"event": "account", "account": "007", "balance": "2500.50"},
        {"event": "symbol", **x},
        {"event": "symbol", **y},
        {"event": "grant", "account": "2", **x, "shares": "60.5"},
        {"event": "order", "id": 1, "account": "1", **x, "side": "buy", "shares": "10", "limit": "9.50"},
        {"event": "order", "id": 2, "account": "1", **x, "side": "buy", "shares": "10", "limit": "9"},
        {"event": "order", "id": 4, "account": "2", **x, "side": "sell", "shares": "15", "limit": "9"},
        {"result": "fill", "buy": 1, "sell": 4, **x, "shares": "10", "price": "9.50"},
        {"result": "fill", "buy": 2, "sell": 4, **x, "shares": "5", "price": "9"},
        {"event": "grant", "account": "007", **y, "shares": "5"},
        {"event": "cancel", "id": 2, "account": "1", "shares": "5"},
        {"event": "order", "id": 5, "account": "2", **x, "side": "sell", "shares": "20", "limit": "12"}
        | {"ref": "a7", "tif": "GTC", **post, "executed": "0", "canceled": "0"},
        {"event": "reduce", "id": 5, "account": "2", "shares": "2.5"},
        {"event": "replace", "id": 6, "replaced": 5, "account": "2", **x, "side": "sell", "shares": "8"}
        | {"limit": "11", "post": True, "released": "17.5"},
        {"result": "canceled", "id": 5, "by": 6, "account": "2", "shares": "17.5"},
        {"event": "order", "id": 7, "account": "007", **x, "side": "buy", "shares": "10.0"}
        | {"type": "market", "budget": "100", **post, "executed": "8.0", "canceled": "2.0"},
        {"result": "fill", "buy": 7, "sell": 6, **x, "shares": "8", "price": "11"},
        {"result": "canceled", "id": 7, "by": 7, "account": "007", "shares": "2.0"},
        {"event": "order", "id": 8, "account": "007", **y, "side": "sell", "shares": "5", "limit": "3"},
        {"event": "order", "id": 9, "account": "007", **y, "side": "buy", "shares": "2", "limit": "3"}
        | {**post, "stp": "both", "executed": "0", "canceled": "2", "passed": [8]},
        {"result": "canceled", "id": 8, "by": 9, "account": "007", "shares": "5"},
        {"result": "canceled", "id": 9, "by": 9, "account": "007", "shares": "2"},
        {"event": "order", "id": 10, "account": "1", **y, "side": "buy", "shares": "4", "limit": "2"},
        {"state": "open", "id": 10, "account": "1", **y, "side": "buy", "limit": "2", "shares": "4"},
        {"state": "cash", "account": "1", "cash": "852"},
        {"state": "cash", "account": "2", "cash": "228"},
        {"state": "cash", "account": "007", "cash": "2412.5"},
        {"state": "position", "account": "1", **x, "shares": "15"},
        {"state": "position", "account": "2", **x, "shares": "37.5"},
        {"state": "position", "account": "007", **x, "shares": "8"},
        {"state": "position", "account": "007", **y, "shares": "5"},
        {"state": "halted", **y},
        {"state": "frozen", "account": "007"},
    ]
    assert lines[-1] == {"end": len(lines)}


def test_ids_and_times_aside_it_comes_out_the_same(
    traded: Market, database: str, second_database: str, tmp_path: Path
) -> None:
    path = tmp_path / "history.jsonl"
    assert run("export", path, "--database-url", database).return_value == 0
    result = run("replay", path, "--database-url", second_database)
    assert (result.return_value, result.stdout) == (0, "9 orders, 3 fills: the same\n")
    with psycopg.connect(second_database) as connection:
        assert Market(connection).violations() == []


def test_what_is_reserved_and_not_matched_has_not_happened(
    traded: Market, database: str, second_database: str, tmp_path: Path
) -> None:
    connection = traded.connection
    request = "(1, 'place_order', '1', 'X', 10, 2, null, null, null)::exchange.request"
    connection.execute("select exchange.begin_session()")
    connection.execute(f"select * from exchange.reserve_orders(array[{request}])".encode())
    assert connection.execute("select count(*) from exchange.incoming_orders").fetchone() == (1,)
    export(database, path := tmp_path / "history.jsonl")
    assert replay(path, second_database) == Replayed(9, 3, 0, [], is_whole=True)


# What somebody may do to a file, and what is said of it then.
TAMPERED: dict[str, tuple[Callable[[list[Line]], object], list[str]]] = {
    "a fill's price": (
        lambda lines: find(lines, "fill", buy=2).update(price="9.01"),
        ["line 12: fill of orders 2 and 4, 5 shares: price 9.01 in the original, 9 here"],
    ),
    "a fill is missing": (
        lambda lines: lines.remove(find(lines, "fill", buy=1)),
        ["fill of orders 1 and 4, 10 shares: only here"],
    ),
    "a fill too many": (
        lambda lines: lines.insert(12, find(lines, "fill", buy=2) | {"buy": 1}),
        ["line 13: fill of orders 1 and 4, 5 shares: only in the original"],
    ),
    "another seller": (
        lambda lines: find(lines, "fill", buy=7).update(sell=5),
        [
            "line 20: fill of orders 7 and 5, 8 shares: only in the original",
            "fill of orders 7 and 6, 8 shares: only here",
        ],
    ),
    "what was cancelled": (
        lambda lines: find(lines, "cancel", id=2).update(shares="6"),
        ["line 14: cancel of order 2, 6 shares: shares 6 in the original, 5 here"],
    ),
    "whom it passed": (
        lambda lines: find(lines, "order", id=9).update(passed=[8, 7]),
        ["line 23: order 9: passed 8 7 in the original, 8 here"],
    ),
    "a balance": (
        lambda lines: find(lines, "cash", account="2").update(cash="1000000"),
        ["line 29: cash of 2: cash 1000000 in the original, 228 here"],
    ),
    "an order that nobody could pay for": (
        lambda lines: find(lines, "order", id=10).update(limit="1000"),
        [
            "line 26: order 10 is refused here: insufficient funds: 4000 needed, 860 available",
            "line 27: open order 10: only in the original",
            "line 28: cash of 1: cash 852 in the original, 860 here",
        ],
    ),
    "an order of nobody's": (
        lambda lines: find(lines, "cancel", id=2).update(id=3),
        [
            "line 14: cancel of order 3 is refused here: there is no order 3 here",
            "open order 2: only here",
            "line 28: cash of 1: cash 852 in the original, 807 here",
        ],
    ),
    "numbers in other words": (lambda lines: find(lines, "fill", buy=2).update(shares="5.00"), []),
}


@pytest.mark.parametrize("how", TAMPERED)
def test_a_tampered_file_differs_just_there(
    traded: Market, database: str, second_database: str, tmp_path: Path, how: str
) -> None:
    change, differences = TAMPERED[how]
    export(database, path := tmp_path / "history.jsonl")
    rewrite(path, change)
    result = run("replay", path, "--database-url", second_database)
    *told, verdict = result.stdout.splitlines()
    assert told == differences
    assert result.return_value == bool(differences)
    count = f"{len(differences)} difference{'' if len(differences) == 1 else 's'}"
    assert verdict.split(": ")[1] == (count if differences else "the same")


def test_it_is_given_up_at_the_tenth_refusal(
    traded: Market, database: str, second_database: str, tmp_path: Path
) -> None:
    export(database, path := tmp_path / "history.jsonl")
    order = {"event": "order", "account": "1", "sym": "X", "side": "buy", "shares": "1", "limit": "5000"}
    rewrite(path, lambda lines: lines.__setitem__(slice(26, 26), [{**order, "id": n} for n in range(11, 40)]))
    result = run("replay", path, "--database-url", second_database)
    *told, verdict = result.stdout.splitlines()
    assert result.return_value == 1
    assert told[0] == "line 27: order 11 is refused here: insufficient funds: 5000 needed, 852 available"
    assert len(told) == 10
    assert verdict.endswith(": given up after 10 differences")


# What somebody may do to a database, behind the exchange's back, and what is said of it then.
MENDED = {
    "update exchange.executions set price = 9.51, buy_limit = 9.51 where buy_order_id = 1": [
        "line 11: fill of orders 1 and 4, 10 shares: price 9.51 in the original, 9.50 here"
    ],
    "delete from exchange.executions where buy_order_id = 2": ["fill of orders 2 and 4, 5 shares: only here"],
    "update exchange.balances set cash = cash + 1 where account_key = 2": [
        "line 29: cash of 2: cash 229 in the original, 228 here"
    ],
    "update exchange.positions set shares = 0 where account_key = 2": [
        "position of 2 X: only here",
    ],
    "update exchange.resting_orders set open_shares = 3": [
        "line 27: open order 10: shares 3 in the original, 4 here"
    ],
    "update exchange.order_terms set executed_shares = 1 where order_id = 5": [
        "line 15: order 5: executed 1 in the original, 0 here"
    ],
    "update exchange.orders set side = 'buy', shares = 1 where order_id = 8": [],
}


@pytest.mark.parametrize("statement", MENDED)
def test_a_tampered_database_differs_just_there(
    traded: Market, database: str, second_database: str, tmp_path: Path, statement: str
) -> None:
    while traded.connection.execute("select exchange.settle_idle_accounts() > 0").fetchone() == (True,):
        pass
    traded.connection.execute(statement.encode())
    result = run("replay", "--from-database", database, "--database-url", second_database)
    *told, verdict = result.stdout.splitlines()
    assert result.return_value == 1
    assert not verdict.endswith("the same")
    if MENDED[statement]:
        assert told == MENDED[statement]
    else:
        assert len(told) > 1  # another order has consequences


@pytest.mark.parametrize(
    "statement",
    ["select exchange.create_account('1', 0)", "select exchange.create_symbol('X')"],
    ids=["account", "symbol"],
)
def test_only_an_empty_exchange_is_carried_out_in(
    traded: Market, database: str, second_database: str, tmp_path: Path, statement: str
) -> None:
    export(database, path := tmp_path / "history.jsonl")
    with psycopg.connect(second_database) as connection:
        connection.execute(statement.encode())
    with pytest.raises(ReplayError, match=r"^the exchange is not empty: ") as refused:
        run("replay", path, "--database-url", second_database)
    assert refused.value.exit_status == 2
    with psycopg.connect(second_database) as connection:
        row = connection.execute("select count(*) from exchange.order_terms, exchange.accounts").fetchone()
    assert row == (0,)


def test_a_database_without_an_exchange_is_told_so(
    traded: Market, database: str, empty_database: str, tmp_path: Path
) -> None:
    with pytest.raises(LookError, match=r"^database .*") as failed:
        run("export", "--database-url", empty_database)
    assert str(failed.value.__cause__).endswith("run `pgbourse migrate`")
    assert failed.value.exit_status == 2
    export(database, path := tmp_path / "history.jsonl")
    with pytest.raises(ReplayError, match=r"^the database has no exchange: run `pgbourse migrate` first$"):
        run("replay", path, "--database-url", empty_database)


def test_what_was_moved_out_makes_no_whole_history(traded: Market, database: str, tmp_path: Path) -> None:
    traded.connection.execute("alter table exchange.orders detach partition exchange.orders_1")
    with pytest.raises(HistoryError, match=r"^order 2 was moved out, .* attach its partition again$"):
        export(database, tmp_path / "history.jsonl")
    assert list(tmp_path.iterdir()) == []


# What may be wrong with a file, by what is done to its lines; the last one isn't mended then.
UNSOUND: dict[str, tuple[Callable[[list[str]], object], str]] = {
    "empty": (lambda texts: texts.clear(), "it ends at line 0, without a last line: it is not whole"),
    "cut": (lambda texts: texts.pop(), "it ends at line 36, without a last line: it is not whole"),
    "a line lost": (lambda texts: texts.pop(20), "line 36: it ends 37 lines, so some are lost or added"),
    "a line behind": (lambda texts: texts.append("{}\n"), "line 38: it stands behind the end"),
    "cut amid a line": (lambda texts: texts.append(texts.pop()[:-3]), "line 37 is no JSON"),
    "no object": (lambda texts: texts.insert(3, "[]\n"), "line 4 is no object of JSON"),
    "no export": (lambda texts: texts.pop(0), "line 1: it is no export of pgbourse, .*"),
    "a later version": (
        lambda texts: texts.insert(0, texts.pop(0).replace('"version":1', '"version":2')),
        "line 1: it is of version 2, and this pgbourse reads 1",
    ),
    "unknown": (lambda texts: texts.insert(3, '{"event":"split"}\n'), "line 4: it is none of account, .*"),
    "a number that isn't exact": (
        lambda texts: texts.insert(3, '{"event":"account","account":"5","balance":0.1}\n'),
        "line 4: account must have balance, a string",
    ),
    "a number below 0": (
        lambda texts: texts.insert(3, texts.pop(3).replace('"2500.50"', '"-2500.50"')),
        "line 4: account must have balance, a number in digits",
    ),
    "neither bought nor sold": (
        lambda texts: texts.insert(7, texts.pop(7).replace('"buy"', '"short"')),
        "line 8: order must have side, one of buy, sell",
    ),
    "unknown terms": (
        lambda texts: texts.insert(14, texts.pop(14).replace('"GTC"', '"GTD"')),
        "line 15: order must have tif, one of GTC, IOC, FOK",
    ),
    "an id that is none": (
        lambda texts: texts.insert(7, texts.pop(7).replace('"id":1,', '"id":9223372036854775808,')),
        "line 8: order must have id, an id above 0",
    ),
    "whom it passed": (
        lambda texts: texts.insert(22, texts.pop(22).replace("[8]", '["8"]')),
        "line 23: order must have passed, a list of ids",
    ),
    "ids that go back": (
        lambda texts: texts.insert(8, texts.pop(7)),
        "line 9: order 1 comes after 2: ids must ascend",
    ),
}


@pytest.mark.parametrize("what", UNSOUND)
def test_an_unsound_file_is_no_difference(
    traded: Market, database: str, second_database: str, tmp_path: Path, what: str
) -> None:
    change, words = UNSOUND[what]
    export(database, path := tmp_path / "history.jsonl")
    texts = path.read_text().splitlines(keepends=True)
    change(texts)
    path.write_text("".join(texts))
    with pytest.raises(LinesError, match=f"^{words}$") as failed:
        run("replay", path, "--database-url", second_database)
    assert failed.value.exit_status == 2


@pytest.mark.parametrize(
    "number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name
)
def test_an_export_that_is_ended_leaves_no_file_under_its_name(
    traded: Market, database: str, tmp_path: Path, number: signal.Signals
) -> None:
    path = tmp_path / "history.jsonl"
    path.write_text("what was there before\n")
    with psycopg.connect(database) as blocker:
        blocker.execute("lock table exchange.deposits in access exclusive mode")
        command = [sys.executable, "-m", "pgbourse.cli", "export", str(path), "--database-url", database]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            waits = (
                "select from pg_stat_activity "
                "where application_name = 'pgbourse export' and wait_event_type = 'Lock'"
            )
            wait_until(lambda: traded.connection.execute(waits.encode()).fetchone() is not None, "it waits")
            assert len(list(tmp_path.iterdir())) == 2
            process.send_signal(number)
            _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert path.read_text() == "what was there before\n"
    if number != signal.SIGKILL:
        assert list(tmp_path.iterdir()) == [path], errors
        assert errors.strip() == "pgbourse: interrupted"


def test_a_file_keeps_its_mode_and_a_link_leads_on(traded: Market, database: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    path, link = tmp_path / "folder" / "history.jsonl", tmp_path / "link"
    path.touch(0o600)
    link.symlink_to(path)
    export(database, link)
    assert link.is_symlink()
    assert (path.stat().st_mode & 0o777, len(lines_of(path))) == (0o600, 37)
    with pytest.raises(ExportError, match=r"^can't write /.*/nowhere/x$") as failed:
        export(database, tmp_path / "nowhere" / "x")
    assert isinstance(failed.value.__cause__, FileNotFoundError)


def test_a_pipe_carries_an_export_into_a_replay(traded: Market, database: str, second_database: str) -> None:
    exported = run("export", "--database-url", database)
    assert exported.stderr.endswith(" s\n")
    assert ": 9 orders, 3 fills: exported, " in exported.stderr
    replayed = CliRunner().invoke(
        cli, ["replay", "-", "--database-url", second_database], input=exported.stdout, standalone_mode=False
    )
    assert (replayed.return_value, replayed.stdout) == (0, "9 orders, 3 fills: the same\n")


def test_nobody_who_reads_is_told_in_one_line(traded: Market, database: str) -> None:
    for _ in range(500):
        traded.place("1", "X", 1, "0.01")
    command = f"{sys.executable} -m pgbourse.cli export --database-url '{database}' | head -n 1"
    result = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert result.stderr.endswith("nobody reads what is written to standard output any more: Broken pipe\n")


@pytest.mark.parametrize("path", ["-", "/dev/full", "/dev/stdout"])
def test_a_full_disk_is_told_of_in_one_line(traded: Market, database: str, path: str) -> None:
    command = [sys.executable, "-m", "pgbourse.cli", "export", path, "--database-url", database]
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert result.stderr.endswith("No space left on device\n")
    assert "can't write" in result.stderr
    assert not Path("/dev/full").is_file()


def test_without_an_exchange_to_carry_it_out_in_one_is_made(
    traded: Market, database: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a while, or in a data folder, which has the history then."""
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    export(database, path := folder / "history.jsonl")
    result = run("replay", path)
    assert (result.return_value, result.stdout) == (0, "9 orders, 3 fills: the same\n")
    assert list(folder.iterdir()) == [path]

    result = run("replay", path, "--data-dir", folder / "copy")
    assert (result.return_value, result.stdout) == (0, "9 orders, 3 fills: the same\n")
    assert run("replay", "--from-data-dir", folder / "copy").stdout == "9 orders, 3 fills: the same\n"
    with pytest.raises(ReplayError, match=r"^the exchange is not empty: "):
        run("replay", path, "--data-dir", folder / "copy")
    assert sorted(folder.iterdir()) == [folder / "copy", path]


def test_where_the_history_comes_from_is_said_once(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    for arguments in [(), (tmp_path / "x", "--from-data-dir", tmp_path)]:
        with pytest.raises(
            click.UsageError, match=r"^give FILE, --from-database or --from-data-dir: one of them$"
        ):
            run("replay", *arguments)


def one_by_one(market: Market, requests: Sequence[Request]) -> None:
    for request in requests:
        market.batch([request])


def trade(gateway: Gateway, database: str, seed: int) -> None:
    """Send random documents of every kind, and have some of it done in psql instead."""
    chance = random.Random(seed)
    trading = Trading(chance, names(ACCOUNTS), names(SYMBOLS, "S"))
    with psycopg.connect(database, autocommit=True) as connection, gateway.connect() as client:
        for _ in range(DOCUMENTS):
            rows = connection.execute("select account_id, order_id from exchange.order_book").fetchall()
            account = chance.choice(names(ACCOUNTS))
            requests = []
            for request in trading.batch(chance.choice([1, 3, 12]), 1):
                if request.order_id is not None and (mine := [row for row in rows if row[0] == account]):
                    request = request._replace(order_id=chance.choice(mine)[1])
                if request.action == "arm_switch":
                    request = request._replace(amount="1")
                requests.append(request._replace(account=account))
            if chance.random() < 0.2:
                one_by_one(Market(connection), requests)
                continue
            children = [
                write(request, chance).xml
                for request in requests
                if request.action not in ("create_account", "grant_shares", "fire_switch")
            ]
            client.ask(f'<transactions id="{account}">{"".join(children)}</transactions>'.encode())


def operate(database: str, traders: list[Future[None]], tmp_path: Path) -> list[Path]:
    """Export again and again, halt, freeze and let go, for as long as others trade; return the exports."""
    chance = random.Random(FIRST_SEED)
    exports: list[Path] = []
    with psycopg.connect(database, autocommit=True) as connection:
        while not all(trader.done() for trader in traders):
            if len(exports) < 3:
                exports.append(tmp_path / f"{len(exports)}.jsonl")
                export(database, exports[-1])
            sym, account = chance.choice(names(SYMBOLS, "S")), chance.choice(names(ACCOUNTS))
            connection.execute("select exchange.halt_symbol(%s)", [sym])
            connection.execute("select exchange.freeze_account(%s)", [account])
            connection.execute("select exchange.cancel_open_orders(%s)", [account])
            connection.execute("select exchange.settle_idle_accounts(), exchange.fire_switches(2)")
            connection.execute("select exchange.unfreeze_account(%s)", [account])
            connection.execute("select exchange.resume_symbol(%s)", [sym])
    return exports


# Whatever chance may leave out, of an account that has no other orders: a ref, an own order that is passed, a
# replace, a reduction, a market order that trades, and shares that are cancelled at once.
EVERY_KIND = (
    b'<transactions id="999"><order sym="Z" amount="-5" limit="10" ref="last-1"/>'
    b'<order sym="Z" amount="4" limit="10" ref="last-2" stp="maker"/>'
    b'<replace of="last-2" amount="3" limit="10" ref="last-3"/><reduce ref="last-3" to="2"/>'
    b'<order sym="Z" amount="-1" type="market"/><order sym="Z" amount="-9" limit="50" tif="IOC"/>'
    b"</transactions>"
)


@pytest.fixture
def random_market(
    start_gateway: StartGateway,
    database: str,
    market: Market,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> list[Path]:
    """A market in which many have traded at once, in lanes and in psql; and exports from amid that."""
    monkeypatch.setattr(gathering, "FEW", 1)  # also two orders go through lanes
    gateway = start_gateway(reserve_workers=2, lanes=2)
    for account in names(ACCOUNTS):
        market.account(account, 20000)
        for sym in names(SYMBOLS, "S"):
            market.grant(account, sym, 300)
    with ThreadPoolExecutor(CLIENTS + 1, "trader") as pool:
        traders = [pool.submit(trade, gateway, database, FIRST_SEED + n) for n in range(CLIENTS)]
        operator = pool.submit(operate, database, traders, tmp_path)
        for trader in traders:
            trader.result()
        exports = operator.result()
    market.account("999", 20000)
    market.grant("999", "Z", 300)
    told = [child.tag for child in gateway.ask(EVERY_KIND)]
    assert told == ["opened", "opened", "opened", "reduced", "opened", "opened"]
    return exports


def fed(connection: Session) -> list[tuple[object, ...]]:
    """What happened to each symbol's book, in order, the orders by their places among all; halts left out."""
    places = {
        order_id: place
        for place, (order_id,) in enumerate(
            connection.execute("select order_id from exchange.orders order by order_id")
        )
    }
    rows = connection.execute(
        "select sym, kind::text, event.side::text, price, shares, order_id, sell_order_id "
        "from exchange.updates inner join exchange.symbols using (symbol_key) "
        "cross join unnest(events) with ordinality as event where kind not in ('halt', 'resume') "
        "order by sym, seq, ordinality"
    ).fetchall()
    return [(*row[:5], places[row[5]], places.get(row[6])) for row in rows]


def test_whatever_was_traded_comes_out_the_same(
    random_market: list[Path], market: Market, database: str, second_database: str, tmp_path: Path
) -> None:
    row = market.connection.execute(
        "select count(ref), count(passed_order_ids), count(replaced_order_id), "
        "count(nullif(canceled_shares, 0)), count(*) filter (where type = 'market'), "
        "(select count(*) from exchange.reductions), (select count(*) from exchange.executions) "
        "from exchange.order_terms"
    ).fetchone()
    assert row is not None
    assert min(row) > 0, row
    export(database, path := tmp_path / "history.jsonl")
    told = replay(path, second_database)
    assert (told.differences, told.first) == (0, [])
    assert told.fills == row[-1]
    with psycopg.connect(second_database) as connection:
        assert Market(connection).violations() == []
        # Within a symbol it is what happened, event by event.
        assert fed(connection) == fed(market.connection) != []


def test_an_export_amid_trading_is_of_one_moment(random_market: list[Path], second_database: str) -> None:
    fills = []
    with psycopg.connect(second_database, autocommit=True) as connection:
        empty = Emptier(connection)
        for path in random_market:
            told = replay(path, second_database)
            assert (told.differences, told.first) == (0, [])
            fills.append(told.fills)
            empty()
    assert sorted(fills) == fills
    assert fills[0] < fills[-1]


def test_crashes_leave_a_history_that_comes_out_the_same(
    second_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ids that were drawn are lost or drawn again; what was lost was the last."""
    monkeypatch.setenv("PGBOURSE_TEST_EXCHANGE", "embedded")
    chance = random.Random(FIRST_SEED)
    trading = Trading(chance, names(ACCOUNTS), names(SYMBOLS, "S"))
    with open_exchange() as exchange:
        url = exchange.database_url or ""
        with psycopg.connect(url, autocommit=True) as connection:
            Market(connection).batch(trading.beginning())
        for _ in range(4):
            # What isn't flushed yet is lost when the server is killed.
            with psycopg.connect(url, autocommit=True, options="-c synchronous_commit=off") as connection:
                market = Market(connection)
                for number in range(DOCUMENTS // 6):
                    if number == DOCUMENTS // 12:  # what was done so far is not lost
                        with psycopg.connect(url, autocommit=True) as durable:
                            durable.execute("select pg_logical_emit_message(true, '', '')")
                    resting = connection.execute("select order_id, account_id from exchange.order_book")
                    trading.orders = dict(resting.fetchall())
                    market.batch(trading.batch(12, 1))
                exchange.kill_database()
            wait_until(lambda: is_up(url), "the database is up again")
        with psycopg.connect(url) as connection:
            row = connection.execute(
                "select max(order_id) > count(*), count(*), (select count(*) from exchange.executions) "
                "from exchange.orders"
            ).fetchone()
            assert Market(connection).violations() == []
        assert row is not None
        export(url, path := tmp_path / "history.jsonl")
    assert replay(path, second_database) == Replayed(row[1], row[2], 0, [], is_whole=True)
    assert row[0], "no id was skipped, so this has shown nothing"


def is_up(url: str) -> bool:
    try:
        with psycopg.connect(url) as connection:
            return connection.execute("select not pg_is_in_recovery()").fetchone() == (True,)
    except psycopg.OperationalError:
        return False
