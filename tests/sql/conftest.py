"""Fixtures of the tests that call the SQL functions directly."""

import pytest

from tests.sql.market import Connection, Market


@pytest.fixture
def market(connection: Connection) -> Market:
    """The exchange in the test's own database, empty."""
    return Market(connection)
