"""How log lines look: one line an event, for people or as JSON. Where they go is standard error."""

import json
import logging
import time

from gateway.settings import LogFormat

__all__ = ["start_logging"]


def start_logging(level: str, form: LogFormat = "text") -> None:
    """Write the log lines of pgbourse from this level on (debug, info, …) to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Json() if form == "json" else _Text(_TEXT))
    logging.basicConfig(handlers=[handler])
    logging.getLogger("pgbourse").setLevel(level.upper())


_TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class _Text(logging.Formatter):
    """Local time, level, logger and message; whatever it holds, it is one line."""

    def format(self, record: logging.LogRecord) -> str:
        # Only a bug of ours has a traceback. Its lines are kept apart by a mark that is easy to split at.
        return _printable(super().format(record).replace("\n", " | "))


class _Json(logging.Formatter):
    """One JSON object with time (UTC, RFC 3339), level, logger, message and, for a bug of ours, traceback."""

    def format(self, record: logging.LogRecord) -> str:
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        event = {
            "time": f"{seconds}.{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            event["traceback"] = self.formatException(record.exc_info)
        return json.dumps(event, ensure_ascii=False)


def _printable(line: str) -> str:
    """Escape control characters: what a peer sent must not look like another line, or move the cursor."""
    if line.isprintable():
        return line
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in line)
