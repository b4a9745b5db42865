"""The root of every error that pgbourse raises on purpose, and words that are told in many places."""

import re

__all__ = ["PgbourseError", "counted", "one_line"]

_UNENDED = re.compile(r"(?<=\w)(?=\n\t[A-Z])")


class PgbourseError(Exception):
    """Tell a person what was wrong, with which value, and what is allowed.

    The command line prints its text as one line and exits with this status. Each subclass lives in the module
    that raises it.
    """

    exit_status = 1


def one_line(text: object) -> str:
    """Return what an error, or a server, says with every run of white space made one blank.

    libpq begins a question on a line of its own, behind a sentence that lacks its full stop.
    """
    return " ".join(_UNENDED.sub(".", str(text)).split())


def counted(number: int, noun: str) -> str:
    """Return so many of something in words: 1 order, 12,150 orders."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
