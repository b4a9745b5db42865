"""What a server knows beyond the base protocol, and what a request needs it to know, by the same words."""

from collections.abc import Iterable

from pgbourse.client.connection import ClientError, Connection
from pgbourse.client.replies import ReplyError, read_reply
from pgbourse.client.requests import (
    ArmSwitch,
    Cancel,
    CancelAll,
    DisarmSwitch,
    ListOrders,
    LookAccount,
    LookBook,
    Order,
    Query,
    Reduce,
    Replace,
    Transaction,
)
from pgbourse.client.results import Server

__all__ = ["NotSupported", "ask_server", "expect_features", "needed_features"]

_ASK_SERVER = b"<create><server/></create>"


class NotSupported(ClientError):
    """The server is too old for the request, and would ignore a part of it: nothing was sent."""


def ask_server(connection: Connection) -> Server:
    """Ask a server for its version and features; one that doesn't understand the question has none."""
    try:
        results = read_reply(connection.ask_between(_ASK_SERVER))
    except ReplyError:
        if connection.end is not None:
            raise
        results = []
    return next((result for result in results if isinstance(result, Server)), Server(None, frozenset()))


def expect_features(server: Server, features: set[str]) -> None:
    """Raise NotSupported if a server lacks one of these features."""
    if missing := sorted(features - server.features):
        which = f"pgbourse {server.version}" if server.version else "it has no <server/>"
        raise NotSupported(f"the server does not know {', '.join(missing)} ({which}): nothing was sent")


def needed_features(items: Iterable[Transaction]) -> set[str]:
    """Return what a server must know to understand these requests; nothing for those of the base protocol."""
    return {word for item in items for word, is_needed in _needs(item).items() if is_needed}


def _needs(item: Transaction) -> dict[str, bool]:
    match item:
        case Order():
            return _terms(item) | {"market": item.type is not None or item.budget is not None}
        case Replace():
            return _terms(item) | {"replace": True, "ref": item.of is not None or item.ref is not None}
        case Reduce():
            return {"reduce": True, "ref": item.ref is not None}
        case Query() | Cancel():
            return {"ref": item.ref is not None}
        case CancelAll():
            return {"cancel-all": True}
        case ArmSwitch() | DisarmSwitch():
            return {"cancel-after": True}
        case LookAccount():
            return {"account": True}
        case ListOrders():
            return {"orders": True}
        case LookBook():
            return {"book": True}


def _terms(item: Order | Replace) -> dict[str, bool]:
    return {
        "ref": item.ref is not None,
        "tif": item.tif is not None,
        "post": item.post,
        "stp": item.stp is not None,
    }
