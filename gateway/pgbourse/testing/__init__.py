"""An exchange for the tests of other programs: see docs/testing.md.

pytest imports this in every environment with pgbourse, so it imports nothing else before it must.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pgbourse.testing.exchange import Exchange, ExchangeError, open_exchange

__all__ = ["Exchange", "ExchangeError", "open_exchange"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    from pgbourse.testing import exchange

    return getattr(exchange, name)
