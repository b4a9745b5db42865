"""The table of codes in docs/protocol.md, the schema, the SQL and the gateway know the same codes.

That no other comes is also held where answers come: by the schema, which every reply of an integration test
must pass, and by Market.batch in the tests of the SQL.
"""

import ast
import re
from pathlib import Path

from lxml import etree

import pgbourse
from pgbourse.wire import fields
from tests.codes import CODES

_ROOT = Path(__file__).parents[2]


def words_of_gateway() -> set[str]:
    """All strings in what reads documents and answers them."""
    found: set[str] = set()
    for room in ("wire", "serve"):
        for path in (Path(pgbourse.__file__).parent / room).glob("*.py"):
            nodes = ast.walk(ast.parse(path.read_text()))
            found.update(
                node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)
            )
    return found


def test_the_table_is_in_order() -> None:
    assert sorted(set(CODES)) == CODES
    assert "insufficient_funds" in CODES


def test_the_schema_knows_the_codes_of_the_table() -> None:
    namespace = {"r": "http://relaxng.org/ns/structure/1.0"}
    schema = etree.parse(_ROOT / "docs" / "pgbourse.rng")
    assert schema.xpath("//r:attribute[@name='code']//r:value/text()", namespaces=namespace) == CODES


def test_no_other_code_comes_from_what_reads_documents() -> None:
    codes = {value.code for value in vars(fields).values() if isinstance(value, fields.Field)}
    assert len(codes) > 10
    assert codes <= set(CODES)


def test_no_other_code_comes_from_the_gateway() -> None:
    codes = {
        keyword.value.value
        for room in ("wire", "serve")
        for path in (Path(pgbourse.__file__).parent / room).glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg == "code" and isinstance(keyword.value, ast.Constant)
    }
    assert {"no_room", "unavailable"} <= codes <= set(CODES)


def test_no_other_code_comes_from_the_database() -> None:
    """What it says beside them is for the gateway: to ask again, or that an order was placed before."""
    assigned = set(re.findall(r"code := '([a-z_]+)'", sql_functions()))
    texts = (_ROOT / "sql" / "functions" / "refusal.sql").read_text()
    explained = set(re.findall(r"^    when '([a-z_]+)'", texts, re.M))
    assert len(assigned) > 10
    assert len(explained) > 10
    assert (assigned | explained) - {"later", "locked", "duplicate"} <= set(CODES)


def sql_functions() -> str:
    return "".join(path.read_text() for path in (_ROOT / "sql" / "functions").glob("*.sql"))


def test_every_code_of_the_table_has_its_place() -> None:
    sql = sql_functions()
    assert [code for code in CODES if f"'{code}'" not in sql and code not in words_of_gateway()] == []
