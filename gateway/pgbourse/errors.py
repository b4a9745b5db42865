"""The root of every error that pgbourse raises on purpose."""

__all__ = ["PgbourseError"]


class PgbourseError(Exception):
    """Tell a person what was wrong, with which value, and what is allowed.

    The command line prints its text as one line and exits with a non-zero status. Each subclass lives in the
    module that raises it.
    """
