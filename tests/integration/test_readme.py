"""The README's quickstart prints what the README says."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from tests.integration.conftest import Gateway

_README = Path(__file__).parents[2] / "README.md"
_TIME = re.compile(r'time="\d+"')


def _steps() -> list[tuple[str, str]]:
    """Return each command of the console blocks, here-documents included, with the output that follows it."""
    blocks = re.findall(r"```console\n(.*?)```", _README.read_text(), re.DOTALL)
    steps = re.findall(
        r"^\$ ([^\n]*<<'XML'\n.*?^XML|[^\n]*)\n(.*?)(?=^\$ |\Z)", "".join(blocks), re.DOTALL | re.MULTILINE
    )
    return [(command, output) for command, output in steps if not command.startswith("alias ")]


def test_quickstart_prints_what_the_readme_says_also_a_second_time(gateway: Gateway, database: str) -> None:
    steps = _steps()
    assert len(steps) == 7
    shell = f'pgbourse() {{ {shlex.quote(sys.executable)} -m pgbourse.cli "$@"; }}\n'
    here = {"PGBOURSE_PORT": str(gateway.address[1]), "PGBOURSE_DATABASE_URL": database}

    def run(command: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["bash", "-c", shell + command],
            env=os.environ | here,
            capture_output=True,
            text=True,
            check=False,
        )

    for _ in range(2):
        for command, output in steps:
            done = run(command)
            assert (done.returncode, done.stderr) == (0, ""), command
            assert _TIME.sub("", done.stdout) == _TIME.sub("", output), command
        assert run("pgbourse reset --yes").returncode == 0


def test_what_the_readme_links_to_is_there() -> None:
    text = _README.read_text()
    links = re.findall(r"\]\(((?!https?:)[^)]+)\)", text)
    assert len(links) > 20
    for link in links:
        path, _, anchor = link.partition("#")
        target = _README.parent / path
        assert target.exists(), link
        if anchor:
            heads = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}
            assert anchor in slugs, link
