"""A database password that comes in a file."""

from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from pgbourse.database.conninfo import ConninfoError
from pgbourse.database.passwords import PasswordError, with_password


@pytest.mark.parametrize(
    "conninfo", ["postgresql://gateway@db/pgbourse", "user=gateway host=db dbname=pgbourse"]
)
@pytest.mark.parametrize("password", ["secret", "it's a \\ of @:/?# 'quotes'", " spaces ", "größer"])
@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_the_password_is_what_the_file_holds(tmp_path: Path, conninfo: str, password: str, end: str) -> None:
    file = tmp_path / "password"
    file.write_bytes((password + end).encode())
    assert conninfo_to_dict(with_password(conninfo, file)) == {
        "user": "gateway",
        "host": "db",
        "dbname": "pgbourse",
        "password": password,
    }


def test_without_a_file_the_string_is_one_for_libpq() -> None:
    given = "postgresql+psycopg2://a:b@c/d"
    assert with_password(given, None) == "user=a password=b dbname=d host=c"


@pytest.mark.parametrize(
    ("conninfo", "content", "message"),
    [
        ("host=db", None, "can't read the password file"),
        ("host=db", "", "is empty"),
        ("host=db", "\n", "is empty"),
        ("host=db password=x", "y", "not in both"),
        ("postgresql://a:x@db/d", "y", "not in both"),
        ("host", "y", "can.t be read"),
    ],
)
def test_what_is_wrong_is_said_without_a_password(
    tmp_path: Path, conninfo: str, content: str | None, message: str
) -> None:
    file = tmp_path / "password"
    if content is not None:
        file.write_text(content)
    with pytest.raises((PasswordError, ConninfoError), match=message) as error:
        with_password(conninfo, file)
    assert not {"x", "y"} & set(str(error.value).split())
