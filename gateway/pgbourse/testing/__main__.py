"""`python -m pgbourse.testing`, inside a container: empty the exchange there on each request."""

from pgbourse.testing.emptying import empty_as_told

empty_as_told()
