"""The shell on a terminal: its prompt, with completion and a history."""

import sys
from collections.abc import Iterable

import platformdirs
from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory, History, InMemoryHistory

from pgbourse.look.asking import ServerAddress
from pgbourse.look.completing import Known, candidates
from pgbourse.look.shell import Dropped, Shell, entries

__all__ = ["converse_on_terminal"]

_GREETING = "Commands such as: buy SPY 100 @ 145.5. Or XML. help says more, Tab completes, Ctrl-D ends."


def converse_on_terminal(shell: Shell, server: ServerAddress) -> None:
    """Carry out what is typed until Ctrl-D or quit. Ctrl-C drops the line, or stops waiting for an answer."""
    session: PromptSession[str] = PromptSession(
        history=_history(), completer=_Completer(shell.known), complete_while_typing=False
    )
    print(f"{server}. {_GREETING}")  # noqa: T201

    def read_line(goes_on: bool) -> str:
        doubt = "?" if shell.in_doubt else ""
        try:
            return session.prompt("  … " if goes_on else f"account {shell.account_id}{doubt}> ")
        except KeyboardInterrupt:
            raise Dropped from None

    for entry in entries(read_line):
        try:
            shell.run(entry)
        except KeyboardInterrupt:
            sys.stderr.write("interrupted: the next command finds out what came of it\n")
        if shell.ended:
            break


def _history() -> History:
    """Return the history in the user's folder for state, or one of this session where that can't be had."""
    try:
        folder = platformdirs.user_state_path("pgbourse", appauthor=False)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = folder / "shell_history"
        file.touch(mode=0o600)
        return FileHistory(file)
    except (OSError, RuntimeError):
        return InMemoryHistory()


class _Completer(Completer):
    def __init__(self, known: Known) -> None:
        self._known = known

    def get_completions(self, document: Document, _: CompleteEvent) -> Iterable[Completion]:
        begun, words = candidates(document.text_before_cursor, self._known)
        for word in words:
            yield Completion(word, start_position=-len(begun))
