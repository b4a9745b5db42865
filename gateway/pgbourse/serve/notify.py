"""Tell the service manager the server's state, if it asks for it: systemd's Type=notify."""

import logging
import os
import socket

__all__ = ["notify"]

_log = logging.getLogger("pgbourse.service")


def notify(state: str) -> None:
    """Send a state, such as READY=1, to the socket in NOTIFY_SOCKET; without one, do nothing."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):  # Linux's abstract sockets
        address = f"\0{address[1:]}"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.sendto(state.encode(), address)
    except OSError as error:
        _log.warning("can't tell the service manager %s: %s", state, error)
