"""The root of every error that pgbourse raises on purpose, and words that are told in many places."""

__all__ = ["PgbourseError", "counted", "one_line"]


class PgbourseError(Exception):
    """Tell a person what was wrong, with which value, and what is allowed.

    The command line prints its text as one line and exits with this status. Each subclass lives in the module
    that raises it.
    """

    exit_status = 1


def one_line(text: object) -> str:
    """Return what an error, or a server, says with every run of white space made one blank."""
    return " ".join(str(text).split())


def counted(number: int, noun: str) -> str:
    """Return so many of something in words: 1 order, 12,150 orders."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
