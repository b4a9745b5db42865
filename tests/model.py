"""The exchange that the real one is compared with: the same that `pgbourse generate` asks."""

from pgbourse.loadtest.reference import Exchange, Order

__all__ = ["Exchange", "Order"]
