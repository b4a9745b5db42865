"""docs/dba.md, followed from top to bottom in a fresh database. `make docs` writes its output anew."""

import os
from pathlib import Path

import psycopg

from pgbourse.database.migrate import migrate
from tests.dba.cluster import Cluster
from tests.dba.transcript import Tour, compare

TOUR = Path(__file__).parents[2] / "docs" / "dba.md"


def test_the_tour_is_as_it_says(folder: Path, server: str) -> None:
    with psycopg.connect(server) as connection:
        major = connection.info.server_version // 10000
    archive = folder / "tour" / "archive"
    settings = {
        "shared_preload_libraries": "pg_stat_statements",
        "pg_stat_statements.track": "all",
        "wal_level": "replica",
        "archive_mode": "on",
        "archive_command": f"mkdir -p {archive} && cp %p {archive}/%f",
        "jit": "off",
        "timezone": "UTC",
    }
    with Cluster(folder / "tour", major, **settings) as cluster:
        with psycopg.connect(cluster.dsn(), autocommit=True) as connection:
            connection.execute("create database pgbourse")
        migrate(cluster.dsn("pgbourse"))
        with Tour(cluster) as tour:
            text = tour.follow(TOUR.read_text())
    if os.environ.get("PGBOURSE_WRITE_DOCS"):
        TOUR.write_text(text)
    assert compare(TOUR, text) == []
