"""The format of log lines, for people or as JSON: one line an event, on standard error."""

import json
import logging
import time

from pgbourse.settings import LogFormat

__all__ = ["json_formatter", "printable", "start_logging", "text_formatter"]


def start_logging(level: str, form: LogFormat = "text", process: int | None = None) -> None:
    """Write pgbourse's log lines of this level (debug, info, …) and above to standard error.

    Where several processes write there, each line tells which one it is from.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(json_formatter(process) if form == "json" else text_formatter(process))
    logging.basicConfig(handlers=[handler])
    logging.getLogger("pgbourse").setLevel(level.upper())
    # psycopg's pools tell of each attempt to connect, at length; we say once that the database is away.
    logging.getLogger("psycopg.pool").setLevel("DEBUG" if level == "debug" else "ERROR")


def text_formatter(process: int | None = None) -> logging.Formatter:
    """Make lines of local time, level, logger, the number of the process if it has one, and message."""
    which = "" if process is None else f"[{process}]"
    return _Text(f"%(asctime)s %(levelname)s %(name)s{which}: %(message)s")


def json_formatter(process: int | None = None) -> logging.Formatter:
    """Make objects of time (UTC, RFC 3339), level, logger, message and, for a bug of ours, traceback.

    A process that has a number tells it too.
    """
    return _Json(process)


def printable(text: str) -> str:
    """Escape what can't be printed in a text, such as what moves the cursor or ends the line."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        # What a peer sent must not look like another line, or move the cursor. Only the traceback of a bug of
        # ours has several lines; a mark keeps them apart.
        return printable(super().format(record).replace("\n", " | "))


class _Json(logging.Formatter):
    def __init__(self, process: int | None) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        event: dict[str, str | int] = {
            "time": f"{seconds}.{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if self._process is not None:
            event["process"] = self._process
        if record.exc_info:
            event["traceback"] = self.formatException(record.exc_info)
        return json.dumps(event)  # in ASCII, so no character can do any harm
