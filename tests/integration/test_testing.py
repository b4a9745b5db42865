"""What our pytest plugin gives to other people's tests; the example of docs/testing.md, run as it stands."""

import re
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgbourse.client import ClientError, Created, NewAccount, NewSymbol, create_document
from pgbourse.testing import Exchange, ExchangeError, open_exchange
from tests.integration.client import wait_until
from tests.integration.conftest import waiting_workers

pytest_plugins = ["pytester"]

# One exchange serves them all.
pytestmark = pytest.mark.xdist_group("pytest plugin")

ROOT = Path(__file__).parents[2]


def trade(exchange: Exchange) -> None:
    """Put something into every table that trading writes."""
    client = exchange.client
    client.create(NewAccount("1", 1000), NewAccount("2", 1000), NewSymbol("X"))
    client.grant_shares("X", "1", 10)
    assert client.place_order("1", "X", -5, 2).order_id == 1
    assert client.place_order("2", "X", 7, 2).order_id == 2
    assert client.cancel_order("2", 2).cancellation.shares == 2


def counts(url: str) -> dict[str, int]:
    """How many rows each table has."""
    with psycopg.connect(url) as connection:
        tables = connection.execute(
            "select relname from pg_class where relnamespace = 'exchange'::regnamespace and relkind = 'r'"
        ).fetchall()
        rows = {
            name: connection.execute(f"select count(*) from exchange.{name}").fetchone() for (name,) in tables
        }
    return {name: row[0] for name, row in rows.items() if row is not None}


def test_after_a_reset_the_exchange_is_as_new(pgbourse: Exchange, database: str) -> None:
    assert pgbourse.database_url is not None
    trade(pgbourse)
    assert counts(pgbourse.database_url) != counts(database)
    pgbourse.reset()
    assert counts(pgbourse.database_url) == counts(database)
    trade(pgbourse)  # through the gateway's own connections, whose plans are older; ids begin at 1 again


def test_a_reset_waits_for_what_a_test_has_left_unanswered(pgbourse: Exchange) -> None:
    client = pgbourse.client
    for number in range(100):
        client.send(create_document(NewAccount(str(number), 1)))
    pgbourse.reset()
    created = pgbourse.client.create(*[NewAccount(str(number), 1) for number in range(100)])
    assert created == [Created(account_id=str(number)) for number in range(100)]


def test_a_reset_waits_for_another_session(pgbourse: Exchange) -> None:
    assert pgbourse.database_url is not None
    with (
        psycopg.connect(pgbourse.database_url) as session,
        psycopg.connect(pgbourse.database_url, autocommit=True) as watcher,
    ):
        session.execute("lock table exchange.accounts in access exclusive mode")
        client = pgbourse.connect()
        client.send(create_document(NewAccount("1", 1)))
        wait_until(lambda: waiting_workers(watcher), "the request is in the database")
        session.commit()
    pgbourse.reset()
    assert pgbourse.client.create_account("1", 1) == Created(account_id="1")


def test_clients_end_with_the_test_even_when_the_exchange_has_closed_them(pgbourse: Exchange) -> None:
    client = pgbourse.connect()
    client.send(b"<nonsense")  # its length says that this is all of it
    client.drain()
    client.close()
    pgbourse.close_clients()
    assert pgbourse.client.create_symbol("X") == Created(sym="X")


def test_a_database_that_is_not_for_tests_is_left_alone(server: str) -> None:
    url = make_conninfo(server, dbname="postgres")
    with pytest.raises(ExchangeError, match="won't empty the database postgres"), open_exchange(url):
        pass


def test_an_exchange_that_does_not_start_is_told(database: str) -> None:
    with psycopg.connect(database) as connection:
        connection.execute(
            "insert into exchange.applied_files (kind, name, checksum, pgbourse_version) "
            "values ('migration', '9999_from_the_future', '', '99')"
        )
    message = "the exchange does not start: pgbourse: .*9999_from_the_future"
    with pytest.raises(ExchangeError, match=message), open_exchange(database):
        pass


def test_embedded_where_no_container_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGBOURSE_TEST_EXCHANGE", "embedded")
    monkeypatch.setenv("PGBOURSE_PORT", "1")  # what is set for another server doesn't reach this one
    with open_exchange() as exchange:
        assert exchange.kind == "embedded"
        trade(exchange)
        exchange.reset()
        trade(exchange)
        left_open = exchange.connect()
        named = conninfo_to_dict(exchange.database_url or "")
        assert set(named) == {"host", "port", "user", "dbname"}, "any client of PostgreSQL takes these"
        folder = Path(str(named["host"])).parent
        assert folder.exists()
    assert not folder.exists()
    with pytest.raises(ClientError, match="closed"):
        left_open.create_symbol("X")


def test_a_container_that_does_not_start_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PGBOURSE_TEST_EXCHANGE", "Embedded")
    advice = "; PGBOURSE_TEST_EXCHANGE names an image, or is `embedded`"
    monkeypatch.setenv("PATH", str(tmp_path))
    missing = f"no container of Embedded: there is no program docker{advice}"
    with pytest.raises(ExchangeError, match=re.escape(missing)), open_exchange():
        pass
    (tmp_path / "docker").write_text("#!/bin/sh\necho 'docker: invalid reference format' >&2\nexit 125\n")
    (tmp_path / "docker").chmod(0o755)
    refused = (
        f"no container of Embedded: the exchange does not start: docker: invalid reference format{advice}"
    )
    with pytest.raises(ExchangeError, match=re.escape(refused)), open_exchange():
        pass


def example() -> tuple[str, str]:
    """The complete example of docs/testing.md: the program, and its test."""
    text = (ROOT / "docs" / "testing.md").read_text()
    program, test = re.findall(
        r"^```python\n# (?:market_maker|test_market_maker)\.py\n(.*?)^```$", text, re.M | re.S
    )
    return program, test


@pytest.mark.parametrize("kind", ["embedded", "database"])
def test_the_example_in_the_document_passes(
    pytester: pytest.Pytester, kind: str, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, test = example()
    pytester.makepyfile(market_maker=program, test_market_maker=test)
    monkeypatch.setenv("PGBOURSE_TEST_EXCHANGE", "embedded")
    if kind == "database":
        pytester.makeconftest(
            "import pytest\n@pytest.fixture(scope='session')\n"
            f"def pgbourse_database_url():\n    return {database!r}\n"
        )
        monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)  # of these tests, not of those in there
    pytester.runpytest_subprocess("-W", "error").assert_outcomes(passed=2)


def test_nothing_heavy_is_imported_until_a_fixture_is_used(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        "import sys\ndef test_nothing():\n"
        "    assert [name for name in sys.modules if name.startswith('pgbourse')] == "
        "['pgbourse', 'pgbourse.testing', 'pgbourse.testing.pytest_plugin']\n"
        "    assert 'psycopg' not in sys.modules\n"
    )
    pytester.runpytest_subprocess().assert_outcomes(passed=1)
