"""The error of what is no reply, apart from those who read replies, which take longer to import."""

from pgbourse.errors import PgbourseError

__all__ = ["ReplyError"]


class ReplyError(PgbourseError):
    """What the server sent is not a reply of this protocol."""
