"""The command line without a server behind it."""

import pytest

import pgbourse.serve.service
from pgbourse.settings import ServeSettings


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[ServeSettings]:
    """The settings that `serve` would have served with."""
    served: list[ServeSettings] = []

    def serve(settings: ServeSettings) -> int:
        served.append(settings)
        return 0

    monkeypatch.setattr(pgbourse.serve.service, "serve", serve)
    return served
