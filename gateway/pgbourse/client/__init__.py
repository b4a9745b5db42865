"""A client of the exchange for Python programs. It needs no PostgreSQL and works on every platform.

Its modules are imported when one of their names is asked for: `pgbourse send` does without most of them.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pgbourse.client.client import (
        Client,
        ClientError,
        ConnectionLost,
        NotSupported,
        RequestRefused,
        TimedOut,
    )
    from pgbourse.client.feed import Feed
    from pgbourse.client.feedvalues import (
        Add,
        BookOrder,
        Event,
        FeedError,
        FeedValue,
        Halt,
        Heartbeat,
        Remove,
        Resume,
        Resumed,
        Side,
        Snapshot,
        Trade,
        Update,
    )
    from pgbourse.client.localbook import BookError, LocalBook
    from pgbourse.client.replies import ReplyError, read_reply
    from pgbourse.client.requests import (
        ArmSwitch,
        Cancel,
        CancelAll,
        Creation,
        DisarmSwitch,
        Grant,
        ListOrders,
        LookAccount,
        LookBook,
        NewAccount,
        NewSymbol,
        Number,
        Order,
        OrderType,
        Query,
        Reduce,
        Replace,
        SelfTrade,
        TimeInForce,
        Transaction,
        create_document,
        transactions_document,
    )
    from pgbourse.client.results import (
        Account,
        Armed,
        Book,
        Canceled,
        CanceledAll,
        Cancellation,
        Created,
        Disarmed,
        Execution,
        Level,
        Opened,
        OpenOrder,
        Orders,
        Position,
        Reduced,
        Refused,
        Result,
        Server,
        Status,
    )

__all__ = [
    "Account",
    "Add",
    "ArmSwitch",
    "Armed",
    "Book",
    "BookError",
    "BookOrder",
    "Cancel",
    "CancelAll",
    "Canceled",
    "CanceledAll",
    "Cancellation",
    "Client",
    "ClientError",
    "ConnectionLost",
    "Created",
    "Creation",
    "DisarmSwitch",
    "Disarmed",
    "Event",
    "Execution",
    "Feed",
    "FeedError",
    "FeedValue",
    "Grant",
    "Halt",
    "Heartbeat",
    "Level",
    "ListOrders",
    "LocalBook",
    "LookAccount",
    "LookBook",
    "NewAccount",
    "NewSymbol",
    "NotSupported",
    "Number",
    "OpenOrder",
    "Opened",
    "Order",
    "OrderType",
    "Orders",
    "Position",
    "Query",
    "Reduce",
    "Reduced",
    "Refused",
    "Remove",
    "Replace",
    "ReplyError",
    "RequestRefused",
    "Result",
    "Resume",
    "Resumed",
    "SelfTrade",
    "Server",
    "Side",
    "Snapshot",
    "Status",
    "TimeInForce",
    "TimedOut",
    "Trade",
    "Transaction",
    "Update",
    "create_document",
    "read_reply",
    "transactions_document",
]

# Where the names are, in the order in which they are looked for.
_MODULES = ("client", "feed", "feedvalues", "localbook", "replies", "requests", "results")


def __getattr__(name: str) -> Any:
    if name in __all__:
        for module in _MODULES:
            home = importlib.import_module(f"pgbourse.client.{module}")
            if name in home.__all__:
                globals()[name] = value = getattr(home, name)
                return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
