"""`pgbourse shell`: short commands or XML in, tables and lines out, over one connection.

A connection that is lost says so. It is opened again at once, or else at the next command, and what had no
answer is sent again first: orders have refs, so nothing happens twice.
"""

import contextlib
import itertools
import secrets
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

from pgbourse.client import (
    Client,
    ConnectionLost,
    NotSupported,
    Order,
    Query,
    Replace,
    ReplyError,
    RequestRefused,
    Result,
    TimedOut,
    Transaction,
    read_reply,
)
from pgbourse.client.again import problem_of_repeating
from pgbourse.errors import PgbourseError
from pgbourse.logs import printable
from pgbourse.look.asking import ServerAddress
from pgbourse.look.completing import Known
from pgbourse.look.documents import DocumentError, account_of, cut, outgoing
from pgbourse.look.sheets import show
from pgbourse.look.tape import tape_sheet
from pgbourse.look.told import tell, tell_all
from pgbourse.look.trades import last_trades
from pgbourse.look.usages import help_lines
from pgbourse.look.words import Ask, AskServer, Command, Help, Make, Quit, Tape, Use, parse

__all__ = ["Dropped", "Shell", "converse", "entries"]

ReadLine = Callable[[bool], str]


class Dropped(Exception):
    """What was typed so far is not meant."""


class Shell:
    """A conversation with a server. `account_id` is whose requests they are, `known` is for completion."""

    def __init__(self, server: ServerAddress, account_id: str) -> None:
        """Connect. Raises ClientError if the server can't be reached."""
        self.account_id = account_id
        self.known = Known(accounts={account_id})
        self.ended = False
        self.place = ""  # where a command stands, if not on a terminal: goes before what is wrong with it
        self._server = server
        self._lost = False  # the connection, or an answer on it: what has none is sent again first
        self._timed_out = False  # that is how it was lost
        self._refs = (f"{secrets.token_hex(4)}.{number}" for number in itertools.count(1))
        self._client = self._connect()

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    @property
    def in_doubt(self) -> bool:
        """Whether something that was sent has no answer."""
        return bool(self._client.unanswered)

    def run(self, entry: str) -> bool:
        """Carry out a command, or XML documents; return False if any of it was refused or not understood.

        Nothing is raised but KeyboardInterrupt, after which what was sent is in doubt.
        """
        try:
            if entry.lstrip().startswith("<"):
                return self._run_documents(entry)
            command = parse(entry)
            return command is None or self._carry_out(command)
        except PgbourseError as error:
            self._complain(error)
            return False
        except KeyboardInterrupt:
            self._lost = True
            raise

    def settle(self) -> bool:
        """Find out what became of what has no answer; return False if that is unknown, or it was refused."""
        try:
            return self._recover()
        except PgbourseError as error:
            self._complain(error)
            return False

    def _carry_out(self, command: Command) -> bool:
        self.known.hear(command)
        match command:
            case Ask():
                return self._answer(
                    lambda: self._client.transact(self.account_id, *self._told(command.items))
                )
            case Make():
                return self._answer(lambda: self._client.create(*command.items))
            case AskServer():
                recovered = self._recover()
                show([tell(self._client.server(), self.account_id)])
                return recovered
            case Tape(sym, number):
                trades, _ = last_trades(self._server, sym, number)
                show([tape_sheet(sym, trades)])
            case Use(account_id):
                self.account_id = account_id
            case Help(name):
                return self._help(name)
            case Quit():
                self.ended = True
        return True

    def _run_documents(self, entry: str) -> bool:
        well = True
        for document in cut(entry) or [entry]:
            sent = outgoing(document, self.account_id)
            well = self._answer(partial(self._ask, sent), account_of(sent)) and well
        return well

    def _ask(self, document: bytes) -> list[Result]:
        """Send a document, and return its results; what has none is shown as it came."""
        reply = self._client.ask_raw(document)
        try:
            return read_reply(reply)
        except ReplyError:
            sys.stdout.write(printable(reply.decode(errors="replace").strip()) + "\n")
            return []

    def _answer(self, ask: Callable[[], list[Result]], account_id: str | None = None) -> bool:
        """Ask, and show the results; return whether nothing was refused.

        Where the connection turns out to be lost, connect again: what was sent is sent again then.
        """
        well = self._recover()
        try:
            results = self._results(ask)
        except ConnectionLost:
            if self._timed_out:
                raise
            self._note(f"the connection to {self._server} was lost: connecting again")
            was_sent = self.in_doubt
            well = self._recover() and well
            if was_sent:
                return well
            results = self._results(ask)
        return self._show(results, account_id) and well

    def _results(self, ask: Callable[[], list[Result]]) -> list[Result]:
        try:
            return ask()
        except RequestRefused as error:
            return [error.refusal]
        except ConnectionLost as error:
            self._lost, self._timed_out = True, isinstance(error, TimedOut)
            raise

    def _recover(self) -> bool:
        """Connect again if the connection was lost, and show what became of what had no answer.

        Raises ClientError or ReplyError, having forgotten nothing, if that can't be found out now.
        """
        if not self._lost:
            return True
        unanswered = self._client.unanswered
        if problem := problem_of_repeating(unanswered):
            return self._give_up(problem)
        try:
            answers = self._client.resend_all()
        except NotSupported:
            return self._give_up("the server doesn't know refs, so an order might be placed twice")
        self._lost = False
        well = True
        for document, results in zip(unanswered, answers, strict=True):
            well = self._show(results, account_of(document)) and well
        return well

    def _give_up(self, problem: str) -> bool:
        client = self._connect()
        self._client.close()
        self._client, self._lost = client, False
        self._note(f"what had no answer can't be sent again ({problem}): orders tells what came of it")
        return False

    def _connect(self) -> Client:
        server = self._server
        return Client(server.host, server.port, timeout=server.timeout, tls=server.tls, refs=False)

    def _told(self, items: Sequence[Transaction]) -> Iterator[Transaction]:
        """Give orders refs, so that they can be sent again, and ask after each what has become of it."""
        for item in items:
            if not isinstance(item, Order | Replace) or "ref" not in self._client.server().features:
                yield item
                continue
            named = item if item.ref is not None else replace(item, ref=next(self._refs))
            yield named
            yield Query(ref=named.ref)

    def _show(self, results: Sequence[Result], account_id: str | None) -> bool:
        self.known.learn(results)
        refused = False
        for sheet in tell_all(results, account_id or self.account_id):
            if sheet.alarm.startswith("refused"):
                refused = True
                self._note(sheet.alarm)
            else:
                show([sheet])
        return not refused

    def _help(self, name: str | None) -> bool:
        lines = help_lines(name)
        sys.stdout.write("".join(f"{line}\n" for line in lines))
        if not lines:
            self._note(f"there is no command {name!r}")
        return bool(lines)

    def _complain(self, error: PgbourseError) -> None:
        cause = error.__cause__
        more = f": {getattr(cause, 'strerror', None) or cause}" if cause is not None else ""
        self._note(f"{error}{more}")
        if self._lost:
            self._note("the next command connects again" + (", and finds out" if self.in_doubt else ""))

    def _note(self, text: str) -> None:
        sys.stdout.flush()
        sys.stderr.write(f"{self.place}{printable(text)}\n")
        sys.stderr.flush()


def converse(server: ServerAddress, account_id: str) -> int:
    """Carry out what is typed, or what standard input holds, to its end.

    Returns 1 if that was a pipe or a file and something in it was refused or not understood, else 0. Raises
    ClientError if the server can't be reached at the start.
    """
    with contextlib.closing(Shell(server, account_id)) as shell:
        if sys.stdin.isatty() and sys.stdout.isatty():
            from pgbourse.look.prompt import converse_on_terminal

            converse_on_terminal(shell, server)
            return 0
        well = True
        for entry in entries(partial(_read_line, shell, itertools.count(1))):
            well = shell.run(entry) and well
            if shell.ended:
                break
        return 0 if shell.settle() and well else 1


def _read_line(shell: Shell, numbers: Iterator[int], _: bool) -> str:
    line = sys.stdin.readline()
    if not line:
        shell.place = ""
        raise EOFError
    shell.place = f"line {next(numbers)}: "
    return line.rstrip("\r\n")


def entries(read_line: ReadLine) -> Iterator[str]:
    """Yield commands, and XML until its root is closed, from lines; the function is told whether one goes on.

    It raises EOFError at the end, and Dropped where somebody drops what is typed so far.
    """
    text = ""
    while True:
        try:
            line = read_line(bool(text))
        except Dropped:
            text = ""
            continue
        except EOFError:
            if text:
                yield text
            return
        text = f"{text}\n{line}" if text else line
        if not _goes_on(text):
            yield text
            text = ""


def _goes_on(text: str) -> bool:
    try:
        return text.lstrip().startswith("<") and cut(text) is None
    except DocumentError:
        return False  # whoever carries it out says why
