"""The programs in the documents that follow the market, as they stand there, but for the port."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pgbourse.client import Client, Grant, NewAccount
from pgbourse.testing import Exchange

_DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def client(pgbourse: Exchange) -> Client:
    """A client of an exchange with account 1, which has money and shares of SPY."""
    pgbourse.client.create(NewAccount("1", 1000), Grant("SPY", "1", 100))
    return pgbourse.client


@contextmanager
def following(
    document: str, section: str, language: str, command: list[str], exchange: Exchange, file: Path
) -> Iterator[Iterator[str]]:
    """Run a section's program, which ends when it is killed; yields the lines that it prints."""
    (text,) = re.findall(
        rf"^## {section}\n.*?^```{language}\n(.*?)^```$", (_DOCS / document).read_text(), re.M | re.S
    )
    assert text.count("12345") == 1
    file.write_text(text.replace("12345", str(exchange.port)))
    with subprocess.Popen(
        [*command, str(file)], stdout=subprocess.PIPE, text=True, cwd=file.parent
    ) as process:
        assert process.stdout is not None
        try:
            yield iter(process.stdout)
        finally:
            process.kill()


def test_the_program_in_python(client: Client, pgbourse: Exchange, tmp_path: Path) -> None:
    section = ("market-data.md", "Reading it with Python", "python")
    with following(*section, [sys.executable], pgbourse, tmp_path / "example.py") as lines:
        assert next(lines) == "0 None None\n"
        client.place_order("1", "SPY", 10, "9.5")
        level = "Level(price=Decimal('9.5'), shares=Decimal('{}'), orders=1)"
        assert next(lines) == f"1 {level.format(10)} None\n"
        client.place_order("1", "SPY", -4, 9)
        assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{6} 4 @ 9\.5\n", next(lines))
        assert next(lines) == f"2 {level.format(6)} None\n"


def test_the_program_in_java(client: Client, pgbourse: Exchange, tmp_path: Path) -> None:
    if shutil.which("java") is None:
        pytest.skip("java is not installed")
    client.place_order("1", "SPY", 10, "9.5")
    section = ("clients.md", "Following the market", "java")
    with following(*section, ["java"], pgbourse, tmp_path / "Follow.java") as lines:
        assert next(lines) == "1 {1=Order[side=buy, price=9.5, shares=10]}\n"
        client.place_order("1", "SPY", -4, 9)
        assert next(lines) == "2 {1=Order[side=buy, price=9.5, shares=6]}\n"
        client.place_order("1", "SPY", -7, 9)
        assert next(lines) == "3 {3=Order[side=sell, price=9, shares=1]}\n"
        client.cancel_order("1", 3)
        assert next(lines) == "4 {}\n"
