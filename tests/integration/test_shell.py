"""`pgbourse shell` as a person or a script uses it: against real exchanges, whose connections get lost."""

import contextlib
import os
import pty
import re
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgbourse.client import Client, NewAccount, NewSymbol
from pgbourse.look.asking import ServerAddress
from pgbourse.look.shell import Shell
from pgbourse.testing import Exchange
from tests.integration.conftest import Gateway, Session, StartService

SHELL = [sys.executable, "-m", "pgbourse.cli", "shell", "--port"]
pytestmark = pytest.mark.xdist_group("pytest plugin")
Output = pytest.CaptureFixture[str]


def pipe(port: int, *lines: str) -> "subprocess.CompletedProcess[str]":
    typed = "".join(f"{line}\n" for line in lines)
    return subprocess.run(
        [*SHELL, str(port)], input=typed, capture_output=True, text=True, check=False, env=os.environ
    )


def test_commands_come_from_a_pipe(gateway: Gateway) -> None:
    result = pipe(
        gateway.address[1],
        "# two people meet",
        "create account 1 1000",
        "create account 2 0",
        "grant SPY 2 10",
        "buy SPY 5 @ 99.5",
        "use 2",
        "sell SPY 8 @ 99",
        "<query",
        ' id="1"/> <orders/>',
        "book SPY",
        "tape SPY",
        "cancel all",
        "sell SPY 5 @ market",
        "quit",
        "create account 3 0",
    )
    assert (result.returncode, result.stderr) == (1, "line 9: refused: no such order: 1\n")
    lines = result.stdout.splitlines()
    shown = [re.sub(r" +\d{4}-.*", "", line) for line in lines]
    assert shown == [
        "account 1 made",
        "account 2 made",
        "account 2 has been given shares of SPY",
        "order 1: buy 5 SPY @ 99.5, 5 open",
        "order 2: sell 8 SPY @ 99, 5 filled @ 99.5, 3 open",
        "1 open order",
        "order  symbol  side  shares  open  limit  since                ref",
        "    2  SPY     sell       8     3     99",
        "SPY, change 2",
        "orders  shares  bid  ask  shares  orders",
        "     -       -    -   99       3       1",
        "SPY",
        "time                     taker  shares  price  buy  sell",
        lines[13],
        "1 order cancelled",
        "order  shares",
        "    2       3",
        "order 3: sell 5 SPY @ market, 5 cancelled",
    ]
    assert lines[13].split()[2:] == ["sell", "5", "99.5", "1", "2"]
    assert pipe(gateway.address[1], "use 3", "account").returncode == 1  # it was not made any more


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("buy SPY", "a number of shares is wanted at the end"),
        ("buy SPY 1 @ 1", "refused: "),
        ("<transactions>", "refused: "),
        ('<subscribe sym="SPY"/>', "a feed needs a connection of its own"),
        ("tape NONE", "no such symbol: NONE"),
    ],
)
def test_what_is_refused_or_not_understood_is_told_and_what_follows_is_carried_out(
    gateway: Gateway, line: str, told: str
) -> None:
    result = (
        pipe(gateway.address[1], line, "server")
        if line != "<transactions>"
        else pipe(gateway.address[1], "server", line)
    )
    assert result.returncode == 1
    assert told in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert result.stdout.startswith("pgbourse ")
    assert pipe(gateway.address[1], "server", "help", "").returncode == 0


def test_ctrl_c_ends_what_reads_a_pipe(gateway: Gateway) -> None:
    with subprocess.Popen(
        [*SHELL, str(gateway.address[1])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("use 2\nhelp use\n")
            process.stdin.flush()
            assert process.stdout.readline().startswith("use ID ")
            process.send_signal(signal.SIGINT)
            _, told = process.communicate()
            assert (process.returncode, told.strip()) == (130, "pgbourse: interrupted")
        finally:
            process.kill()


def test_no_server_is_one_line() -> None:
    result = pipe(1, "account")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("pgbourse: can't reach a server at 127.0.0.1:1")
    assert len(result.stderr.splitlines()) == 1


@pytest.fixture
def exchange(pgbourse: Exchange) -> Exchange:
    """An exchange with an account that can buy."""
    pgbourse.client.create(NewAccount("1", 1000), NewSymbol("SPY"))
    return pgbourse


@contextlib.contextmanager
def shell_to(exchange: Exchange, timeout: float = 30.0) -> Iterator[Shell]:
    with contextlib.closing(Shell(ServerAddress(*exchange.address, timeout), "1")) as shell:
        assert shell.run("server")  # asked for once, so that no later reply is that one
        yield shell


@pytest.mark.parametrize("moment", ["request", "reply", "now"])
def test_an_order_on_a_connection_that_is_lost_is_placed_once(
    exchange: Exchange, capsys: Output, moment: str
) -> None:
    with shell_to(exchange) as shell:
        capsys.readouterr()
        exchange.cut(moment)  # type: ignore[arg-type]
        assert shell.run("buy SPY 5 @ 2")
        told = capsys.readouterr()
        assert told.err == f"the connection to 127.0.0.1:{exchange.port} was lost: connecting again\n"
        again = ", placed before" if moment == "reply" else ""
        assert told.out == f"order 1: buy 5 SPY @ 2, 5 open{again}\n"
        assert shell.run("orders")
        assert capsys.readouterr().out.startswith("1 open order\n")


def test_what_is_late_is_in_doubt_until_the_next_command(exchange: Exchange, capsys: Output) -> None:
    with shell_to(exchange, 0.5) as shell:
        exchange.delay(3)
        capsys.readouterr()
        assert not shell.run("buy SPY 5 @ 2")
        assert shell.in_doubt
        assert "no reply within 0.5 seconds" in (told := capsys.readouterr().err)
        assert "the next command connects again, and finds out" in told
        exchange.delay(0)
        assert shell.run("account")
        assert not shell.in_doubt
        first, second = capsys.readouterr().out.splitlines()[:2]
        assert (first, second) == ("order 1: buy 5 SPY @ 2, 5 open, placed before", "account 1")


def test_what_can_not_be_sent_again_is_told(exchange: Exchange, capsys: Output) -> None:
    with shell_to(exchange) as shell:
        exchange.cut("reply")
        assert not shell.run('<order sym="SPY" amount="1" limit="1"/>')
        assert "can't be sent again (<order> without a ref would be placed twice)" in capsys.readouterr().err
        assert shell.run("orders")
        assert capsys.readouterr().out.startswith("1 open order\n")


def test_a_server_that_is_away_for_a_while_loses_nothing(
    database: str, start_service: StartService, capsys: Output, connection: Session
) -> None:
    service = start_service("--database-url", database)
    host, port = service.address
    with Client(host, port) as client:
        client.create(NewAccount("1", 1000), NewSymbol("SPY"))
    with contextlib.closing(Shell(ServerAddress(host, port), "1")) as shell:
        assert shell.run("account")
        service.process.kill()
        service.end()
        capsys.readouterr()
        assert not shell.run("buy SPY 5 @ 2")
        assert not shell.run("buy SPY 5 @ 3")  # it isn't sent: first is to be known what became of the other
        told = capsys.readouterr().err.splitlines()
        assert sum(line.startswith(f"can't reach a server at {host}:{port}") for line in told) == 2
        start_service("--database-url", database, "--port", str(port))
        assert shell.run("query 1")
        assert shell.settle()
    assert connection.execute("select count(*) from exchange.orders").fetchone() == (1,)


def test_a_prompt_with_completion_and_a_history(gateway: Gateway, tmp_path: Path) -> None:
    with Client(*gateway.address) as client:
        client.create(NewAccount("1", 1000), NewSymbol("SPY"))
    terminal, inside = pty.openpty()
    with subprocess.Popen(
        [*SHELL, str(gateway.address[1])],
        stdin=inside,
        stdout=inside,
        stderr=inside,
        start_new_session=True,
        env=os.environ
        | {"TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1", "XDG_STATE_HOME": str(tmp_path), "COLUMNS": "80"},
    ) as process:
        try:
            os.close(inside)
            seen = ""

            def type_(keys: str, *answers: str) -> None:
                """Type, and wait until the answers have come, one after the other."""
                nonlocal seen
                seen, place = "", 0
                os.write(terminal, keys.encode())
                for answer in answers:
                    while answer not in seen[place:]:
                        told = f"waited for {answer!r}: {seen!r}"
                        assert select.select([terminal], [], [], 60)[0], told
                        seen += os.read(terminal, 65536).decode(errors="replace")
                    place = seen.index(answer, place) + len(answer)

            type_("", "account 1>")
            type_("buy SPY 5 @ 2\r", "order 1: buy 5 SPY @ 2, 5 open", "account 1>")
            type_("boo", "boo")
            type_("\t", "k")
            type_(" S", "S")
            type_("\t", "PY")  # the symbol is known by now
            type_("\r", "SPY, change 1", "account 1>")
            type_("nonsense", "nonsense")
            type_("\x03", "account 1>")  # it is dropped
            type_("<query\r", "…")
            type_('id="1"/>\r', "order 1: 5 open", "account 1>")
            type_("use 2\r", "account 2>")
            type_("account\r", "refused: ", "account 2>")
            seen = ""
            os.write(terminal, b"\x04")
            with contextlib.suppress(OSError):
                while data := os.read(terminal, 65536):
                    seen += data.decode(errors="replace")
            assert process.wait() == 0, seen
        finally:
            process.kill()
    os.close(terminal)
    (history,) = tmp_path.rglob("shell_history")
    assert history.stat().st_mode & 0o777 == 0o600
    assert "+buy SPY 5 @ 2" in history.read_text().splitlines()
    assert "nonsense" not in history.read_text()
