"""How many processes, lanes and workers there are by default, on how many cores."""

import pytest

from pgbourse import settings
from pgbourse.settings import ServeSettings


@pytest.mark.parametrize(
    ("cores", "processes", "lanes"),
    [(1, 1, 0), (2, 1, 0), (4, 1, 1), (8, 1, 2), (12, 2, 2), (16, 2, 4), (96, 16, 16), (1024, 64, 64)],
)
def test_they_grow_with_the_cores(
    monkeypatch: pytest.MonkeyPatch, cores: int, processes: int, lanes: int
) -> None:
    monkeypatch.setattr(settings, "usable_cores", lambda: cores)
    served = ServeSettings()
    assert (served.processes, served.lanes) == (processes, lanes)
    assert 64 % max(1, served.lanes) == 0, "a slot of symbols is in one lane"
    assert served.reserve_workers == 2
