"""Run pytest against a server of one major version: python -m tests.dba.on_version 15 tests/sql …"""

import os
import sys
import tempfile
from pathlib import Path

import pytest

from gateway.binaries import find_binaries
from tests.dba.cluster import Cluster


def main() -> int:
    major, *arguments = sys.argv[1:]
    find_binaries(int(major))  # or an error that says which ones there are
    with tempfile.TemporaryDirectory(prefix="pgbourse-test-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with Cluster(folder / "server", int(major), autovacuum="on", max_connections="100") as cluster:
            os.environ["PGBOURSE_TEST_DSN"] = cluster.dsn()
            return int(pytest.main(arguments))


if __name__ == "__main__":
    sys.exit(main())
