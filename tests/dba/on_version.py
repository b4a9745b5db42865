"""Run pytest against a server of one major version: python -m tests.dba.on_version 15 tests/sql …"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from pgbourse.database.binaries import find_binaries
from tests.dba.cluster import Cluster


def main() -> int:
    major, *arguments = sys.argv[1:]
    find_binaries(int(major))  # or an error that says which ones there are
    with tempfile.TemporaryDirectory(prefix="pgbourse-test-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with Cluster(folder / "server", int(major), autovacuum="on", max_connections="100") as cluster:
            environment = {**os.environ, "PGBOURSE_TEST_DSN": cluster.dsn()}
            command = [sys.executable, "-m", "pytest", *arguments]
            return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
