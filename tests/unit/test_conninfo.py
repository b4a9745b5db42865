"""What connection strings mean, whatever the environment holds, and that errors never quote a password."""

import os

import pytest
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict

from pgbourse.database.conninfo import (
    ConninfoError,
    complete,
    connect,
    forget_environment,
    hidden_environment,
    parse,
    private_conninfo,
)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("postgresql://u:p@h:5/d", {"user": "u", "password": "p", "host": "h", "port": "5", "dbname": "d"}),
        ("postgresql+psycopg2://u:a%40b@h/d", {"user": "u", "password": "a@b", "host": "h", "dbname": "d"}),
        ("postgres+asyncpg://h1:1,h2:2/d", {"host": "h1,h2", "port": "1,2", "dbname": "d"}),
        ("POSTGRESQL+psycopg://h/d?sslmode=require", {"host": "h", "dbname": "d", "sslmode": "require"}),
        ("postgres://u:a?:b@h\n", {"user": "u", "password": "a?:b", "host": "h"}),
        ("host=h password='a b@c/%d'", {"host": "h", "password": "a b@c/%d"}),
        ("host = h\ndbname = d\n", {"host": "h", "dbname": "d"}),
        ("postgresql:///d?host=/tmp&port=5", {"host": "/tmp", "port": "5", "dbname": "d"}),
        ("", {}),
    ],
)
def test_urls_and_pairs_are_read(given: str, meant: dict[str, str]) -> None:
    assert parse(given) == meant


# Every place at which a careless password breaks a connection string; none of its letters is in our messages.
BROKEN = [
    "postgresql://u:QX%XQ@h/d",
    "postgresql://u:QX%",
    "postgresql://u:QX@XQ@h/d",
    "postgresql://u:QX@XQ/QX@h/d",
    "postgresql://u:QX/XQ@h/d",
    "postgresql://u:QX/XQ?QX@h/d",
    "postgresql://u:QX@XQ?QX@h/d",
    "postgresql://u:QX XQ@h/d",
    "postgresql://u:QX\nXQ@h/d",
    "postgresql://u:QX\0XQ@h/d",
    "postgresql://u:QX\udce4XQ@h/d",
    "postgresql://u:%ffQX@h/d",
    "postgresql://u:QX%00@h/d",
    "postgresql://u:QX/d",
    "postgresql://u:QX@h:XQ/d",
    "postgresql://u:QX@h:0/d",
    "postgresql://u:QX@h:65536/d",
    "postgresql://u:QX@[h/d",
    "postgresql://u:QX@h/d?QX",
    "postgresql://u:QX@h/d?QX=XQ",
    "postgresql://u:QX@h/d?connect_timeout=QX",
    "postgresql+psycopg2://u:QX%XQ@h/d",
    "postgresql:/u:QX@h/d",
    "postgresql//u:QX@h/d",
    "mysql://u:QX@h/d",
    "jdbc:postgresql://h/d?user=u&password=QX",
    "host=h password=QX XQ",
    "host=h password=QX XQ=QX",
    "host=h password=QX port=XQ",
    "host=h password='QX",
    "host=h password='QX' XQ'",
    "host=h password=QX\0XQ",
    "QX",
]


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("read", [parse, complete, connect])
def test_what_cannot_be_read_is_told_without_any_part_of_it(read: object, broken: str) -> None:
    assert callable(read)
    with pytest.raises(ConninfoError, match=r"the database URL can't be read: .+") as caught:
        read(broken)
    error: BaseException | None = caught.value
    while error is not None:
        assert "QX" not in repr(error)
        assert "XQ" not in repr(error)
        error = error.__cause__ or error.__context__


@pytest.mark.parametrize(
    ("broken", "cure"),
    [
        ("postgresql://u:a@b@h/d", "stray @ or /.*@ as %40, / as %2F"),
        ("postgresql://u:a%b@h/d", "stray %.*% as %25"),
        ("postgresql://u:a/b", "port is no number.*/ as %2F"),
        ("postgresql://u:a b@h/d", "a blank.*as %20"),
        ("host=h password=a b", "key=value pairs with '…' around values with blanks"),
        ("mysql://u@h/d", "neither a postgresql://… URL nor key=value pairs"),
    ],
)
def test_an_error_says_what_to_write_instead(broken: str, cure: str) -> None:
    with pytest.raises(ConninfoError, match=cure):
        parse(broken)


def test_a_host_that_no_resolver_takes_is_one_error() -> None:
    with pytest.raises(ConninfoError, match="no host name"):
        connect(f"host={'h' * 64}.example dbname=d")


def test_what_the_user_names_stays_and_the_rest_is_not_left_to_the_environment() -> None:
    completed = conninfo_to_dict(
        complete("postgresql://u@h/d?options=-cjit%3Doff", application_name="test", connect_timeout=3)
    )
    assert completed["host"] == "h"
    assert completed["options"] == "-cjit=off"
    assert completed["application_name"] == "test"
    assert completed["connect_timeout"] == "3"
    assert completed["hostaddr"] == ""
    assert completed["port"] == "5432"
    assert completed["target_session_attrs"] == "any"
    # How the two sides prove who they are may come from libpq's own variables and files.
    assert not {"password", "passfile", "sslmode", "sslrootcert", "require_auth"} & completed.keys()
    assert complete(complete("host=h,i port=1,2")) == complete("host=h,i port=1,2")


def test_a_service_that_is_named_has_its_say() -> None:
    assert conninfo_to_dict(complete("service=x", application_name="test")) == {
        "service": "x",
        "application_name": "test",
    }


def test_a_private_string_leaves_nothing_to_the_environment() -> None:
    named = conninfo_to_dict(private_conninfo("/run/x", "d")).keys()
    variables = {option.keyword.decode() for option in pq.Conninfo.get_defaults() if option.envvar}
    # Each caller names the first two. The third has no value that stands for none: its variable is hidden.
    assert variables - named == {"application_name", "connect_timeout", "service"}


def test_the_environment_is_hidden_and_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOSTADDR", "127.0.0.1")
    monkeypatch.setenv("PGDATESTYLE", "German")
    monkeypatch.setenv("PGPASSWORD", "secret")
    with hidden_environment(), hidden_environment():
        assert not {"PGHOSTADDR", "PGDATESTYLE"} & os.environ.keys()
        assert os.environ["PGPASSWORD"] == "secret"
    assert os.environ["PGHOSTADDR"] == "127.0.0.1"
    assert os.environ["PGDATESTYLE"] == "German"
    assert {"PGHOSTADDR", "PGDATESTYLE"} <= set(forget_environment())
    assert not {"PGHOSTADDR", "PGDATESTYLE"} & os.environ.keys()
    assert os.environ["PGPASSWORD"] == "secret"
