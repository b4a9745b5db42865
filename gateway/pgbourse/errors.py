"""The root of every error that pgbourse raises on purpose, and how an error is told."""

__all__ = ["PgbourseError", "one_line"]


class PgbourseError(Exception):
    """Tell a person what was wrong, with which value, and what is allowed.

    The command line prints its text as one line and exits with this status. Each subclass lives in the module
    that raises it.
    """

    exit_status = 1


def one_line(text: object) -> str:
    """Return what an error, or a server, says with every run of white space made one blank."""
    return " ".join(str(text).split())
