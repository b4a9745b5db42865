"""The programs of docs/clients.md, as they stand there, but for the port: each must get its reply."""

import re
import shutil
import subprocess
import sys
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
    ("java", ["java", "{file}"], r'<\?xml .*<results><created id="4"/></results>\n'),
    ("go", ["go", "run", "{file}"], r'<\?xml .*<results><created id="5"/></results>\n'),
    ("javascript", ["node", "{file}"], r'<\?xml .*<results><created id="6"/></results>\n'),
]
ENDINGS = {"java": "Example.java", "go": "main.go", "javascript": "example.cjs"}
# What a program needs besides the one that runs it.
ALSO_NEEDED = {"sh": "nc"}


def blocks() -> list[tuple[str, str]]:
    """The code blocks of the document: language and text."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", DOCUMENT.read_text(), re.M | re.S)


def test_every_program_in_the_document_is_run() -> None:
    assert [language for language, _ in blocks()] == [language for language, _, _ in PROGRAMS]


@pytest.mark.parametrize("place", range(len(PROGRAMS)), ids=[f"{i}-{p[0]}" for i, p in enumerate(PROGRAMS)])
def test_a_program_of_the_document_gets_its_reply(pgbourse: Exchange, tmp_path: Path, place: int) -> None:
    language, command, printed = PROGRAMS[place]
    for tool in (command[0], ALSO_NEEDED.get(language, command[0])):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    text = blocks()[place][1]
    assert text.count("12345") == 1
    file = tmp_path / ENDINGS.get(language, "example")
    file.write_text(text.replace("12345", str(pgbourse.port)))
    result = subprocess.run(
        [part.format(file=file) for part in command],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert re.fullmatch(printed, result.stdout), result
    assert result.returncode == 0, result
