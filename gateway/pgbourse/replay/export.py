"""Write an exchange's history to a file, or to standard output, as it is at one moment."""

import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO

from pgbourse.database.ledger import Connection
from pgbourse.errors import PgbourseError
from pgbourse.replay.history import header, lines, open_history
from pgbourse.replay.lines import Line, dump

__all__ = ["ExportError", "export", "write_lines"]


class ExportError(PgbourseError):
    """The file can't be written. No file is under its name that wasn't before."""

    exit_status = 2


def export(database_url: str, path: Path | None) -> Line:
    """Write the history to the path, or to standard output, and return the counts that its first line has.

    The exchange may run meanwhile: what is written is of one moment. A path has the whole file or, if this
    fails or is killed, what it had before.

    Raises ExportError, HistoryError, or MigrationError if the database can't be reached.
    """
    with open_history(database_url) as connection:
        if path is None:
            try:
                told = write_lines(connection, sys.stdout)
                sys.stdout.flush()
            except BrokenPipeError as error:
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left to be written
                raise ExportError("nobody reads what is written to standard output any more") from error
            return told
        with _whole_file(path) as file:
            return write_lines(connection, file)


def write_lines(connection: Connection, file: IO[str]) -> Line:
    """Write the history that a connection of `open_history` sees, and return what its first line says."""
    told = header(connection)
    with closing(lines(connection)) as found:
        for text in dump(found, told):
            file.write(text)
    return told


@contextmanager
def _whole_file(path: Path) -> Iterator[IO[str]]:
    """Give a file to write, which gets its name when the block ends well. A device or pipe has it already."""
    try:
        path = Path(os.path.realpath(path))  # a link stays one
        if path.exists() and not stat.S_ISREG(path.stat().st_mode):
            with path.open("w", encoding="utf-8") as file:
                yield file
            return
        number, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        part = Path(name)
        try:
            with os.fdopen(number, "w", encoding="utf-8") as file:
                yield file
                file.flush()
                os.fsync(number)
            part.chmod(_mode_of(path))
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ExportError(f"can't write {path}") from error


def _mode_of(path: Path) -> int:
    """Return the mode that the file has, or that a new one gets."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask
