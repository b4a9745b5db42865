"""The programs of docs/clients.md, as they stand there, but for the port: each must get its reply."""

import contextlib
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pgbourse.testing import Exchange

DOCUMENT = Path(__file__).parents[2] / "docs" / "clients.md"

# How a block of each language is run, and what it prints, in the document's order.
PROGRAMS = [
    ("sh", ["sh", "{file}"], r'<\?xml .*<results><created id="1"/></results>\n'),
    ("bash", ["bash", "{file}"], r'<\?xml .*<results><created id="2"/></results>\n'),
    (
        "python",
        [sys.executable, "{file}"],
        r"5\n.*insufficient.*\nCancellation\(shares=Decimal\('5'\), .*\)\n",
    ),
    ("python", [sys.executable, "{file}"], r"True True\n0 2\n500 500\n"),
    ("python", [sys.executable, "{file}"], r"(\[Created\(account_id='1\d\d', sym=None\)\]\n){100}"),
    ("java", ["java", "{file}"], r"created 4 \ncreated  \n(opened \d+ \n){3}"),
    ("go", ["go", "run", "{file}"], r"created 5 \ncreated  \n(opened \d+ \n){3}"),
    ("javascript", ["node", "{file}"], r"created 6\ncreated \n(opened \d+\n){3}"),
]
# These connect again, and send again what has no reply.
ENDURING = ("java", "go", "javascript")
ENDINGS = {"java": "Example.java", "go": "main.go", "javascript": "example.cjs"}
# What a program needs besides the one that runs it.
ALSO_NEEDED = {"sh": "nc"}


def blocks() -> list[tuple[str, str]]:
    """The code blocks of the document: language and text."""
    text, _, _ = DOCUMENT.read_text().partition("## Following the market\n")  # test_following_documents.py
    return re.findall(r"^```(\w+)\n(.*?)^```$", text, re.M | re.S)


def test_every_program_in_the_document_is_run() -> None:
    assert [language for language, _ in blocks()] == [language for language, _, _ in PROGRAMS]


@pytest.fixture
def program(tmp_path: Path) -> Callable[[int, int], list[str]]:
    """Write a program of the document, by its place, for this port, and return how it is run."""

    def write(place: int, port: int) -> list[str]:
        language, command, _ = PROGRAMS[place]
        for tool in (command[0], ALSO_NEEDED.get(language, command[0])):
            if shutil.which(tool) is None:
                pytest.skip(f"{tool} is not installed")
        text = blocks()[place][1]
        assert text.count("12345") == 1
        file = tmp_path / ENDINGS.get(language, "example")
        file.write_text(text.replace("12345", str(port)))
        return [part.format(file=file) for part in command]

    return write


@pytest.mark.parametrize("place", range(len(PROGRAMS)), ids=[f"{i}-{p[0]}" for i, p in enumerate(PROGRAMS)])
def test_a_program_of_the_document_gets_its_reply(
    pgbourse: Exchange, tmp_path: Path, program: Callable[[int, int], list[str]], place: int
) -> None:
    command = program(place, pgbourse.port)
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert re.fullmatch(PROGRAMS[place][2], result.stdout), result
    assert result.returncode == 0, result


enduring = pytest.mark.parametrize(
    "place", [place for place, (language, *_) in enumerate(PROGRAMS) if language in ENDURING], ids=ENDURING
)


@enduring
def test_a_lost_reply_places_no_order_twice(
    pgbourse: Exchange, tmp_path: Path, program: Callable[[int, int], list[str]], place: int
) -> None:
    command = program(place, pgbourse.port)
    pgbourse.cut("reply")
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert result.returncode == 0, result
    assert result.stderr, "it says that the connection was lost"
    assert result.stdout.count("opened") == 3
    (account_id,) = re.findall(r'account id=\\?"(\d)\\?"', blocks()[place][1])
    assert len(pgbourse.client.list_orders(account_id).orders) == 3


@enduring
def test_an_exchange_that_is_away_is_waited_for(
    pgbourse: Exchange, tmp_path: Path, program: Callable[[int, int], list[str]], place: int
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # nobody listens: connections are refused
        command = program(place, closed.getsockname()[1])
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
        )
        with process:
            assert process.stderr is not None
            assert "refused" in process.stderr.readline().lower()
            closed.listen()
            client, _ = closed.accept()
            with client, socket.create_connection(pgbourse.address) as exchange:
                there = threading.Thread(target=copy, args=(client, exchange))
                there.start()
                copy(exchange, client)
                there.join()
            assert process.stdout is not None
            printed = process.stdout.read()
    assert re.fullmatch(PROGRAMS[place][2], printed), printed
    assert process.returncode == 0


def copy(source: socket.socket, sink: socket.socket) -> None:
    """Pass on what comes until the end, and then that."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
