"""The comparison of two versions: what it reads and tells, and a short one of this checkout with itself."""

import json
import shutil
from pathlib import Path

import pytest
from lxml import etree

from pgbourse.loadtest.workload import Feeder, Workload
from tests.bench.compare import main
from tests.bench.loads import parse

ROOT = Path(__file__).resolve().parents[2]


def test_loads_are_read() -> None:
    many, makers = parse("512x10,makers")
    assert (many.clients, many.workload.orders, makers.workload.makers) == (512, 10, 64)
    with pytest.raises(SystemExit, match="'128' is neither"):
        parse("1x1,128")


def test_a_requoting_maker_cancels_before_it_orders() -> None:
    feeder = Feeder(Workload(orders=2, accounts=8, makers=2, requotes=True))
    told = b'<results><opened id="7"/><opened id="8"/></results>'
    kinds: dict[bool, set[tuple[str, ...]]] = {True: set(), False: set()}
    for _ in range(200):
        document, template = next(feeder)
        maker = int(template.account) < 1002
        kinds[maker].add(tuple(str(request.tag) for request in etree.fromstring(document)))
        feeder.learn(template, document, told)
    assert kinds == {True: {("order", "order"), ("cancel", "order")}, False: {("order", "order")}}


@pytest.mark.long("two servers are loaded in turns")
@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
def test_a_version_is_compared_with_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures = tmp_path / "figures.json"
    root = str(ROOT)
    loads = (
        "--loads=8x2,requote --hostile=orders,queries --flush-ms=5 --history=1000 --resting=1001 --held=0.2"
    )
    short = "--rounds=2 --seconds=0.3 --warm-up=0.1"
    main([root, root, *loads.split(), *short.split(), f"--json={figures}"])
    told = capsys.readouterr().out
    assert "| 8x2 |" in told
    assert "32x1 beside hostile queries, to alone" in told
    runs = json.loads(figures.read_text())
    assert all(run["opened"] > 0 for version in runs.values() for load in version.values() for run in load)
    # Every reply waits for a flush.
    assert all(run["p50_ms"] > 5 for run in runs["a"]["8x2"])
