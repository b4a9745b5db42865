"""`python -m pgbourse.testing`, inside a container: empty the exchange there as often as told."""

from pgbourse.testing.exchange import empty_as_told

empty_as_told()
