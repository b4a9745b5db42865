"""The PostgreSQL that the tests run against: a whole server, which they may set up and fill as they like."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg

from pgbourse.database.binaries import find_binaries
from pgbourse.database.embedded import EmbeddedPostgres
from tests.dba.cluster import Cluster

__all__ = ["keep_temporary_files_in_memory", "open_server", "temporary_folder"]

_OLDEST_IMAGE = "postgres:15"
_ENOUGH_MEMORY = 6 << 30  # bytes; the servers of four workers need less than half of it


def keep_temporary_files_in_memory() -> None:
    """Put temporary files into memory, if there is plenty of it and nobody has set TMPDIR.

    Each test has a database of 8 MB. A short test with one on a disk takes three times as long, also of the
    processor's time. No test needs a disk: none cuts the power of a machine.
    """
    memory = Path("/dev/shm")
    if "TMPDIR" in os.environ or not memory.is_dir() or os.statvfs(memory).f_flag & os.ST_NOEXEC:
        return
    if min(shutil.disk_usage(memory).free, psutil.virtual_memory().available) >= _ENOUGH_MEMORY:
        os.environ["TMPDIR"] = str(memory)  # processes that the tests start inherit it
        tempfile.tempdir = None


@contextmanager
def open_server() -> Iterator[tuple[str, str]]:
    """Give a superuser's connection string, and words for what the server is.

    PGBOURSE_TEST_DSN names a server, PGBOURSE_TEST_MAJOR a version of PostgreSQL that is installed here,
    PGBOURSE_TEST_IMAGE an image to run in a container. Without any of them it is a container of the oldest
    PostgreSQL that we support, if a Docker engine has it or can pull it, else the embedded PostgreSQL.
    """
    if dsn := os.environ.get("PGBOURSE_TEST_DSN"):
        yield dsn, "PGBOURSE_TEST_DSN"
    elif major := os.environ.get("PGBOURSE_TEST_MAJOR"):
        find_binaries(int(major))  # or an error that says which versions there are
        settings = {"autovacuum": "on", "max_connections": "100"}
        with temporary_folder() as folder, Cluster(folder / "server", int(major), **settings) as cluster:
            yield cluster.dsn(), "installed here"
    elif image := os.environ.get("PGBOURSE_TEST_IMAGE", _OLDEST_IMAGE if _docker_has(_OLDEST_IMAGE) else ""):
        yield from _in_container(image)
    else:
        with temporary_folder() as folder, EmbeddedPostgres(folder / "server") as postgres:
            dsn = postgres.dsn("postgres")
            with psycopg.connect(dsn, autocommit=True) as connection:
                # The data are thrown away. The tests of durability run servers of their own.
                connection.execute("alter system set fsync = off")
                connection.execute("select pg_reload_conf()")
            yield dsn, "embedded"


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Make a folder that any user may enter: when we are root, PostgreSQL is another one."""
    folder = Path(tempfile.mkdtemp(prefix="pgbourse-test-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _docker_has(image: str) -> bool:
    """Return whether a Docker engine has an image, or could pull it."""
    if shutil.which("docker") is None:
        return False

    def docker(*arguments: str) -> bool:
        return subprocess.run(["docker", *arguments], capture_output=True, check=False).returncode == 0

    return docker("info") and (docker("image", "inspect", image) or docker("pull", image))


def _in_container(image: str) -> Iterator[tuple[str, str]]:
    # The container is removed below; a second one to watch over that would need another image.
    os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")
    from testcontainers.community.postgres import PostgresContainer

    container = PostgresContainer(image, driver=None).with_command("postgres -c fsync=off")
    container.with_tmpfs_mount("/memory").with_env("PGDATA", "/memory/data")
    with container:
        yield container.get_connection_url(), f"container {image}"
