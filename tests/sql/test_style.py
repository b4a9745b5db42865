"""The style of sql/ that sqlfluff can't hold, because the body of a function is text to it."""

import re
from pathlib import Path

import psycopg
import pytest
from psycopg.rows import TupleRow

from pgbourse.database.ledger import sql_folder

FILES = sorted(sql_folder().rglob("*.sql"))
FUNCTIONS = sorted((sql_folder() / "functions").glob("*.sql"))

# What is no code: comments, literals and quoted names. Dollar quotes hold bodies, which are code.
NO_CODE = re.compile(r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"", re.DOTALL)
PLPGSQL = {
    "elsif",
    "exception",
    "exit",
    "foreach",
    "if",
    "loop",
    "perform",
    "raise",
    "slice",
    "strict",
    "while",
}


def code_of(path: Path) -> str:
    """Return a file's code, with everything else blanked out and lines kept."""
    return NO_CODE.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), path.read_text())


def name_of(path: Path) -> str:
    return str(path.relative_to(sql_folder()))


@pytest.fixture(scope="session")
def keywords(server: str) -> set[str]:
    """Every keyword of SQL and PL/pgSQL, in lower case."""
    with psycopg.connect(server) as connection:
        return {word for (word,) in connection.execute("select word from pg_get_keywords()")} | PLPGSQL


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_keywords_are_in_lower_case(path: Path, keywords: set[str]) -> None:
    shouted = [word for word in re.findall(r"[A-Za-z_]\w*", code_of(path)) if word != word.lower()]
    assert [word for word in shouted if word.lower() in keywords] == []


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_lines_are_tidy(path: Path) -> None:
    text = path.read_text()
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    untidy = [line for line in text.split("\n") if line != line.rstrip() or "\t" in line]
    assert untidy == []


@pytest.mark.parametrize("path", FUNCTIONS, ids=name_of)
def test_a_function_file_holds_one_function_and_all_that_belongs_to_it(path: Path) -> None:
    code = code_of(path)
    name = rf"exchange\.{path.stem}\s*\("
    assert re.findall(r"create or replace function\s+(\S+?)\s*\(", code) == [f"exchange.{path.stem}"]
    assert re.search(rf"comment on function\s+{name}", code)
    assert re.search(rf"revoke (all|execute) on function\s+{name}.*?from public", code, re.DOTALL)
    assert path.read_text().startswith("-- "), "a header says what the function does"
    assert not re.search(r"\bdrop function\b", code), "a dropped signature is a migration's work"


@pytest.mark.parametrize("path", FUNCTIONS, ids=name_of)
def test_a_function_is_at_most_150_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 150


@pytest.mark.parametrize("path", FUNCTIONS, ids=name_of)
def test_no_query_takes_every_column(path: Path) -> None:
    assert not re.search(r"\bselect\s+\*|,\s*\*", code_of(path))


@pytest.mark.parametrize("path", FUNCTIONS, ids=name_of)
def test_functions_hold_no_dynamic_sql(path: Path) -> None:
    assert not re.search(r"\bexecute\b(?!\s+on\b)", code_of(path))


# What people say by name of an order is spelt as on the wire.
SAID = {"ref", "type", "budget", "tif", "post", "stp", "open", "of", "shares", "to_open"}


def test_arguments_begin_with_p(connection: psycopg.Connection[TupleRow]) -> None:
    arguments = connection.execute(
        "select proname, name from pg_proc, unnest(proargnames, proargmodes) as argument (name, mode) "
        "where pronamespace = 'exchange'::regnamespace and coalesce(mode, 'i') in ('i', 'b', 'v')"
    ).fetchall()
    assert arguments
    others = {argument for argument in arguments if not argument[1].startswith("p_")}
    assert {name for _, name in others} == SAID
    assert {function for function, _ in others} == {
        "cancel_order",
        "place_order",
        "query_order",
        "reduce_order",
        "replace_order",
    }


def test_everything_has_a_comment(connection: psycopg.Connection[TupleRow]) -> None:
    bare = connection.execute(
        "select oid::regprocedure::text from pg_proc where pronamespace = 'exchange'::regnamespace "
        "and obj_description(oid, 'pg_proc') is null "
        "union all select oid::regclass::text from pg_class where relnamespace = 'exchange'::regnamespace "
        "and relkind in ('r', 'v', 'm', 'p') and obj_description(oid, 'pg_class') is null "
        "union all select format('%s.%s', attrelid::regclass, attname) from pg_attribute "
        "join pg_class on pg_class.oid = attrelid where relnamespace = 'exchange'::regnamespace "
        "and relkind in ('r', 'v', 'm', 'p') and not relispartition and attnum > 0 and not attisdropped "
        "and col_description(attrelid, attnum) is null"
    ).fetchall()
    assert bare == []


def test_public_may_execute_nothing(connection: psycopg.Connection[TupleRow]) -> None:
    open_functions = connection.execute(
        "select oid::regprocedure::text from pg_proc where pronamespace = 'exchange'::regnamespace "
        "and (proacl is null or exists (select from aclexplode(proacl) where grantee = 0))"
    ).fetchall()
    assert open_functions == []
