"""The state of all connections, of one server or of several together."""

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["TrafficStatus", "add_up_traffic"]


@dataclass(frozen=True, slots=True)
class TrafficStatus:
    """The state of all connections at one moment."""

    connections: int  # open
    accepted: int  # since the start
    addresses: int  # with open connections
    held: int  # connections that dispatch has
    begun: int  # connections with part of a request
    unread: int  # connections that we don't read from
    unsent_bytes: int  # of replies that clients have not taken
    stuck_documents: int  # that no worker may take before their clients take replies
    stuck_bytes: int
    is_full: bool  # too much waits for workers: we read nothing


def add_up_traffic(parts: Sequence[TrafficStatus]) -> TrafficStatus:
    """Return the state of several servers' connections together."""
    return TrafficStatus(
        connections=sum([part.connections for part in parts]),
        accepted=sum([part.accepted for part in parts]),
        addresses=sum([part.addresses for part in parts]),
        held=sum([part.held for part in parts]),
        begun=sum([part.begun for part in parts]),
        unread=sum([part.unread for part in parts]),
        unsent_bytes=sum([part.unsent_bytes for part in parts]),
        stuck_documents=sum([part.stuck_documents for part in parts]),
        stuck_bytes=sum([part.stuck_bytes for part in parts]),
        is_full=any(part.is_full for part in parts),
    )
