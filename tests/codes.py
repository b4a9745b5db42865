"""The codes that a client may get with an error: the table in docs/protocol.md."""

import re
from pathlib import Path

__all__ = ["CODES"]

CODES = re.findall(
    r"^\| `([a-z_]+)` \|", (Path(__file__).parents[1] / "docs" / "protocol.md").read_text(), re.M
)
