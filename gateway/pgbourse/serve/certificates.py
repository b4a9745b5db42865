"""What the log says of the server's certificate, before clients refuse it."""

import logging
from datetime import UTC, datetime

from pgbourse.settings import ServeSettings
from pgbourse.tls import validity

__all__ = ["warn_of_expiry"]

_log = logging.getLogger("pgbourse.server")

_SOON = 0.1  # of its life is left: some live for a year, some for a day


def warn_of_expiry(settings: ServeSettings) -> None:
    """Log it if the certificate has expired, or soon will. Raises TlsError."""
    if settings.tls_cert is None or (valid := validity(settings.tls_cert, settings.tls_key)) is None:
        return
    since, until = valid
    left = until - datetime.now(UTC)
    if left.total_seconds() < 0:
        _log.error("the certificate in %s has expired, clients refuse it: %s", settings.tls_cert, until)
    elif left < _SOON * (until - since):
        _log.warning("the certificate in %s expires soon: %s", settings.tls_cert, until)
