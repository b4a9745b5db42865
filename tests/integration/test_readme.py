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


def test_quickstart_prints_what_the_readme_says(gateway: Gateway) -> None:
    steps = _steps()
    assert len(steps) == 7
    shell = f'pgbourse() {{ {shlex.quote(sys.executable)} -m pgbourse.cli "$@"; }}\n'
    for command, output in steps:
        done = subprocess.run(
            ["bash", "-c", shell + command],
            env={**os.environ, "PGBOURSE_PORT": str(gateway.address[1])},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, ""), command
        assert _TIME.sub("", done.stdout) == _TIME.sub("", output), command
