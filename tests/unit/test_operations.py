"""docs/operations.md and what lies beside it: every metric and log line that there is, and no other."""

import ast
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgbourse.serve.listener import listen
from pgbourse.serve.metrics import make_registry
from pgbourse.serve.server import Server
from pgbourse.settings import ServeSettings

ROOT = Path(__file__).parents[2]
MANUAL = (ROOT / "docs" / "operations.md").read_text()
LEVELS = {"info": "info", "warning": "warning", "error": "error", "exception": "error"}


def log_lines() -> Iterator[tuple[str, str]]:
    """Level and text of every line that the gateway logs by default, with … for what varies."""
    for path in sorted((ROOT / "gateway").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and isinstance(node.func.value, ast.Name)
                and node.func.value.id == "_log"
                and node.func.attr in LEVELS
            ):
                (text,) = [ast.literal_eval(argument) for argument in node.args[:1]]
                yield LEVELS[node.func.attr], re.sub(r"%[-\d.]*[a-z]", "…", text)


@pytest.fixture(scope="module")
def metrics() -> set[str]:
    """The names of all metrics, as Prometheus has them."""
    server = Server(listen("127.0.0.1", 0), "", ServeSettings(http_port=0))
    server.start()
    families = list(make_registry(server, lambda: (1, 2, 3), "15.1").collect())
    server.stop()
    assert server.join()
    suffix = {"counter": "_total", "info": "_info"}
    return {family.name + suffix.get(family.type, "") for family in families}


def test_every_log_line_is_explained() -> None:
    explained = {
        (level, line) for level, line in re.findall(r"^\| (\w+) \| `(.+?)` \|", MANUAL, re.MULTILINE)
    }
    explained.discard(("info", "listening on …"))  # as text, that is no log line
    # What `migrate` says of its files is cut short in the manual.
    written = {(level, re.sub(r"sql/; `.*", "sql/; …", line)) for level, line in log_lines()} - {
        ("info", "…")
    }
    assert written == explained


def test_every_metric_is_explained(metrics: set[str]) -> None:
    explained = set(re.findall(r"\b(?:pgbourse|process)_[a-z_]+\b(?!-)", MANUAL))
    ours = {name for name in metrics if name.startswith("pgbourse_")}
    assert ours <= explained
    assert {name.removesuffix("_bucket") for name in explained} <= metrics


def test_the_dashboard_asks_for_metrics_that_there_are(metrics: set[str]) -> None:
    dashboard = json.loads((ROOT / "docs" / "grafana" / "pgbourse.json").read_text())
    asked = set()
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            asked |= set(re.findall(r"\b(?:pgbourse|process)_[a-z_]+", target["expr"]))
    assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in asked} <= metrics


def test_the_systemd_unit_is_sound(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd-analyze here")
    text = (ROOT / "docs" / "systemd" / "pgbourse.service").read_text()
    unit = tmp_path / "pgbourse.service"
    unit.write_text(text.replace("/opt/pgbourse/bin/pgbourse", "/bin/true"))  # which is not installed here
    result = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")
