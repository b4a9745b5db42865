"""Count the instructions that a document takes in the gateway: python -m tests.bench.gateway ROOT …

Needs valgrind. Each version serves under callgrind, which makes it some fifty times slower; PostgreSQL and
the load run as ever. So batches are as large as the load allows. What the gateway does while nobody asks for
anything is taken off. Figures repeat within a few hundredths, also on a busy machine.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.loads import parse, prepare, put
from tests.bench.versions import Server

__all__ = ["total"]

_LOADS = "1x1,128x1,32x10"
_IDLE_SECONDS = 5.0
# A busy thread is asked for the interpreter's lock after some half a millisecond: what that is here.
_SLOW = "import sys; sys.setswitchinterval(0.1); sys.setswitchinterval = lambda _: None"
_TOTAL = re.compile(r"^(?:totals|summary): ([0-9]+)", re.MULTILINE)


def total(dump: str) -> int:
    """Return how many instructions a dump of callgrind's is about."""
    found = _TOTAL.search(dump)
    if found is None:
        raise SystemExit("callgrind has told no total")
    return int(found[1])


class _Counted:
    """A version that serves under callgrind."""

    def __init__(self, server: Server, folder: Path) -> None:
        self._server = server
        self._folder = folder
        self._known: set[Path] = set()

    def instructions(self) -> int:
        """Return how many instructions there have been since this was last asked."""
        subprocess.run(["callgrind_control", "-d", str(self._server.pid)], check=True, capture_output=True)
        fresh = set(self._folder.glob("out.*")) - self._known
        self._known |= fresh
        return sum([total(path.read_text()) for path in fresh])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.gateway", description=__doc__)
    parser.add_argument("roots", type=Path, nargs="+", help="checkouts")
    parser.add_argument("--loads", default=_LOADS, help="CLIENTSxORDERS; by default " + _LOADS)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each load; 10 by default")
    asked = parser.parse_args()
    if shutil.which("callgrind_control") is None:
        sys.exit("valgrind is not installed")
    for root in asked.roots:
        with tempfile.TemporaryDirectory(prefix="pgbourse-gateway-") as name:
            under = ["valgrind", "--tool=callgrind", "--combine-dumps=no"]
            under.append(f"--callgrind-out-file={name}/out")
            with Server(root, [], {}, under, _SLOW) as server:
                counted = _Counted(server, Path(name))
                prepare(server.port)
                for load in parse(asked.loads):
                    put(server.port, load, 1.0)
                    counted.instructions()
                    time.sleep(_IDLE_SECONDS)
                    idle = counted.instructions() / _IDLE_SECONDS
                    begun = time.monotonic()
                    figures = put(server.port, load, asked.seconds)
                    spent = counted.instructions() - idle * (time.monotonic() - begun)
                    orders = figures.opened + figures.refused
                    print(  # noqa: T201
                        f"{root} {load.name}: {spent / orders * load.workload.orders:.0f} instructions a "
                        f"document, {orders} orders",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
