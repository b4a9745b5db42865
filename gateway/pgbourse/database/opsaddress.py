"""Where a running server with an embedded PostgreSQL answers over HTTP: a file in its data folder tells.

The file holds the number of its process and the address. Whoever reads it compares the number with that of
the process that holds the folder, so a file that a killed server has left behind leads nowhere.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from pgbourse.database.datafolder import LOCK_FILE

__all__ = ["find_address", "left_address"]

_FILE = "pgbourse.http"
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}


@contextlib.contextmanager
def left_address(data_dir: Path, host: str, port: int) -> Iterator[None]:
    """Leave an address in a data folder that we hold, until the block ends.

    Nobody but `pgbourse top` needs it, so a folder that can't be written is no reason to fail.
    """
    folder = data_dir.expanduser()
    host = _ANY.get(host, host)
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    file = folder / _FILE
    with contextlib.suppress(OSError):
        file.write_text(f"{_holder(folder)} {url}\n")
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            file.unlink()


def find_address(data_dir: Path) -> str | None:
    """Return the address (http://…) that the server which holds a data folder has left there, or None."""
    folder = data_dir.expanduser()
    try:
        holder, _, url = (folder / _FILE).read_text().strip().partition(" ")
        return url if url and holder == _holder(folder) else None
    except OSError:
        return None


def _holder(folder: Path) -> str:
    return (folder / LOCK_FILE).read_text().strip()
