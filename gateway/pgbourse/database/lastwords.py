"""What PostgreSQL's programs say before they end: the lines that tell why."""

import re

__all__ = ["FULL", "initdb_last_words", "server_last_words"]

# Errors that end a process, but for those that only tell clients of the server's state: they come after the
# reason.
_ENDING = re.compile(r"(FATAL|PANIC):(?!\s+(the database system is |terminating ))")
FULL = "No space left on device"
_FROM_INITDB = re.compile(r"error:|FATAL:|PANIC:|HINT:")


def server_last_words(log: str) -> str:
    """Return the line of a server's log that says why it ended, or the last one; empty if it logged nothing.

    That a disk is full is told even if only a lesser line says so.
    """
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    ending = [line for line in lines if _ENDING.search(line)]
    if not lines:
        return ""
    said = (ending or lines)[-1]
    full = [line for line in lines if FULL in line]
    return f"{said}; {full[-1]}" if full and FULL not in said else said


def initdb_last_words(errors: str) -> str:
    """Return in one line what initdb wrote on standard error that says why it failed, hints included."""
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    return "; ".join([line for line in lines if _FROM_INITDB.search(line)] or lines)
