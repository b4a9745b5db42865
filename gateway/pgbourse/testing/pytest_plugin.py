"""Fixtures for the tests of programs that talk to an exchange: see docs/testing.md.

pytest loads this in every environment with pgbourse, so it imports only pytest until a fixture is used.
"""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pgbourse.testing import Exchange

__all__ = ["pgbourse", "pgbourse_database_url", "pgbourse_server"]


@pytest.fixture(scope="session")
def pgbourse_database_url() -> str | None:
    """Override this to run the exchange over your own database, which is emptied before each test."""
    return None


@pytest.fixture(scope="session")
def pgbourse_server(pgbourse_database_url: str | None) -> "Iterator[Exchange]":
    """An exchange that runs for the whole test session."""
    from pgbourse.testing import open_exchange

    # The workers of pytest-xdist are given the same URL.
    with open_exchange(pgbourse_database_url, worker=os.environ.get("PYTEST_XDIST_WORKER")) as exchange:
        yield exchange


@pytest.fixture
def pgbourse(pgbourse_server: "Exchange") -> "Iterator[Exchange]":
    """An empty exchange on a free port; what a test leaves in it stays until the next one begins."""
    pgbourse_server.reset()
    yield pgbourse_server
    pgbourse_server.close_clients()
