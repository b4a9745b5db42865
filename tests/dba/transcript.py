"""Run the sessions that a Markdown file shows, and compare what comes out with what is shown there.

    ```psql                     psql sessions: `one=> select …;` is typed in session one, `=>` in the first;
    ```sh                       `$ command` lines, in a shell of the cluster's user

The shape is compared: numbers, times and the width of columns may differ. A line `...` stands for any lines.
A statement that ends in `-- waits` is left waiting for a lock; what it says at last is shown under the next,
empty, prompt of its session.
"""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import psycopg

from pgbourse.database.binaries import run_as
from tests.dba.cluster import Cluster

__all__ = ["Tour", "compare", "differences"]

_BLOCK = re.compile(r"^```(psql|sh)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_PROMPT = re.compile(r"^(\w*)=> ?(.*)$")
_MARK = "-- end of answer --"


class Tour:
    """The sessions of one document, over one cluster with a database pgbourse."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._sessions: dict[str, _Psql] = {}

    def __enter__(self) -> "Tour":
        return self

    def __exit__(self, *_: object) -> None:
        for session in self._sessions.values():
            session.close()

    def follow(self, document: str) -> str:
        """Run every command, top to bottom; return the document with the output as it came."""
        return _BLOCK.sub(lambda block: f"```{block[1]}\n{self._run(block[1], block[2])}```", document)

    def _run(self, kind: str, shown: str) -> str:
        lines = []
        for command, expected in _steps(kind, shown):
            output = self._shell(command) if kind == "sh" else self._psql(command)
            # What was cut in the document stays cut, if it fits.
            keep = "..." in expected and not differences(expected, output)
            lines += [command, *(expected if keep else output)]
        return "".join(f"{line}\n" for line in lines)

    def _psql(self, command: str) -> list[str]:
        first, *rest = command.split("\n")
        prompt = _PROMPT.match(first)
        assert prompt is not None
        name, text = prompt[1], "\n".join([prompt[2], *rest])
        if name not in self._sessions:
            self._sessions[name] = _Psql(self._cluster)
        if "pg_stat" in text:
            for session in self._sessions.values():
                session.tell_statistics()
        return self._sessions[name].answer(text)

    def _shell(self, command: str) -> list[str]:
        # pgbourse runs as whoever runs the tests: its environment may be in a folder that is theirs alone.
        user = None if command.startswith("$ pgbourse") else self._cluster.user
        result = subprocess.run(
            ["bash", "-c", command.removeprefix("$ ")],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self._cluster.folder,
            env=self._cluster.environment(),
            check=False,
            **run_as(user),
        )
        assert result.returncode == 0, f"{command}\n{result.stdout}"
        return str(result.stdout).splitlines()


class _Psql:
    """A psql that is fed line by line, as if somebody typed."""

    def __init__(self, cluster: Cluster) -> None:
        self._dsn = cluster.dsn("pgbourse")
        self._waiting = False
        self._process = subprocess.Popen(
            [str(cluster.binaries.folder / "psql"), "-X", "-P", "pager=off"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd="/",
            env=cluster.environment(),
            **run_as(cluster.user),
        )
        self._pid = int(self.answer("select pg_backend_pid();")[2])

    def answer(self, text: str) -> list[str]:
        """Type a command; return the lines that it prints, or none if it is to wait."""
        if not self._waiting:
            self._input.write(f"{text}\n\\echo {_MARK}\n")
            self._input.flush()
        self._waiting = text.rstrip().endswith("-- waits")
        if self._waiting:
            self._until_blocked()
            return []
        return list(self._lines())

    def tell_statistics(self) -> None:
        """Let everybody see what the session has done so far; by itself it tells once a second."""
        if not self._waiting:
            self.answer("select pg_stat_force_next_flush();")

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()
        self._input.close()
        self._output.close()

    @property
    def _input(self) -> IO[str]:
        assert self._process.stdin is not None
        return self._process.stdin

    @property
    def _output(self) -> IO[str]:
        assert self._process.stdout is not None
        return self._process.stdout

    def _lines(self) -> Iterator[str]:
        while (line := self._output.readline()) != f"{_MARK}\n":
            assert line, "psql ended"
            yield line.rstrip()

    def _until_blocked(self) -> None:
        query = "select cardinality(pg_blocking_pids(%s)) > 0"
        with psycopg.connect(self._dsn, autocommit=True) as observer:
            while observer.execute(query, [self._pid]).fetchone() != (True,):
                assert self._process.poll() is None


def _steps(kind: str, shown: str) -> Iterator[tuple[str, list[str]]]:
    """Cut a block into commands, which may have several lines, and the output that is shown for each."""
    command: list[str] = []
    output: list[str] = []
    for line in shown.splitlines():
        begins = line.startswith("$ ") if kind == "sh" else _PROMPT.match(line) is not None
        if begins:
            if command:
                yield "\n".join(command), output
            command, output = [line], []
        elif not output and (_continues(command) if kind == "psql" else command[-1].endswith("\\")):
            command.append(line)
        else:
            output.append(line)
    if command:
        yield "\n".join(command), output


def _continues(command: list[str]) -> bool:
    text = _PROMPT.sub(r"\2", command[0]) + "".join(command[1:])
    return bool(text) and not text.startswith("\\") and not re.search(r"(;|\\g\w*|-- waits)\s*$", text)


def _shape(line: str) -> str:
    """Return a line with everything blanked out that differs from run to run."""
    line = re.sub(r"\d{4}-\d\d-\d\d( \d\d:\d\d:\d\d(\.\d+)?([+-]\d\d)?)?", "TIME", line)
    line = re.sub(r"\d\d:\d\d:\d\d(\.\d+)?", "SPAN", line)
    line = re.sub(r"-?\d+(\.\d+)?( (bytes|kB|MB|GB))?", "N", line)
    line = re.sub(r"-{2,}", "--", line)
    return re.sub(r"\s+", " ", line).strip()


def differences(expected: list[str], output: list[str]) -> str:
    """Return where the shape of an output first differs from what is shown; nothing where it does not."""
    pieces: list[list[str]] = [[]]
    for line in _without_end(expected):
        if line == "...":
            pieces.append([])
        else:
            pieces[-1].append(_shape(line))
    rest = [_shape(line) for line in _without_end(output)]
    for place, piece in enumerate(pieces):
        starts = [0] if place == 0 else range(len(rest) + 1)
        if place == len(pieces) - 1 and place > 0:
            starts = [len(rest) - len(piece)]
        found = next(
            (start for start in starts if start >= 0 and rest[start : start + len(piece)] == piece), None
        )
        if found is None:
            return f"expected {piece}, got {rest}"
        rest = rest[found + len(piece) :]
    return f"and then {rest}" if rest and len(pieces) == 1 else ""


def _without_end(lines: list[str]) -> list[str]:
    """Return lines without the blank ones at their end."""
    return "\n".join(lines).rstrip().split("\n")


def compare(shown: Path, ran: str) -> list[str]:
    """Return what differs in shape between a document and the same after a run."""
    found = []
    for before, after in zip(_BLOCK.findall(shown.read_text()), _BLOCK.findall(ran), strict=True):
        for (command, expected), (_, output) in zip(_steps(*before), _steps(*after), strict=True):
            if difference := differences(expected, output):
                found.append(f"{command}\n{difference}")
    return found
