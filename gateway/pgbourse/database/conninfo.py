"""Connection strings: their forms, and what libpq would add to them from the environment.

libpq fills in everything that a connection string leaves out, from more than thirty PG… variables and a
service file. So `PGHOSTADDR` alone could send us to the wrong server. These are the rules:

- For a PostgreSQL of our own nothing is left out: `private_conninfo` names every keyword.
- For a database that the user names, only its URL says which database it is and how the session behaves.
  Who we are and how the two sides prove it (user, password, TLS, GSS, required authentication) may come from
  libpq's own variables and files, as with psql: operators keep passwords and certificates there.

A connection string can't override PGDATESTYLE, PGTZ and PGGEQO, and an undefined PGSERVICE fails whatever
the string names. `connect` hides these variables, and our programs remove them at the start.

No error here quotes any part of a connection string: if it can't be read, nobody knows which part is the
password.
"""

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import TupleRow

from pgbourse.errors import PgbourseError

__all__ = [
    "ConninfoError",
    "complete",
    "connect",
    "forget_environment",
    "hidden_environment",
    "parse",
    "private_conninfo",
    "short",
]

_SCHEME = re.compile(r"postgres(ql)?(\+[a-z0-9_]+)?://", re.IGNORECASE)

# Who we are, and how the two sides prove it and encrypt: the user's own variables may say so.
_CREDENTIALS = frozenset(
    {
        "user",
        "password",
        "passfile",
        "channel_binding",
        "gssdelegation",
        "gssencmode",
        "gsslib",
        "krbsrvname",
        "require_auth",
        "requirepeer",
        "ssl_max_protocol_version",
        "ssl_min_protocol_version",
        "sslcert",
        "sslcertmode",
        "sslcrl",
        "sslcrldir",
        "sslkey",
        "sslmode",
        "sslnegotiation",
        "sslrootcert",
        "sslsni",
    }
)
_DEFAULTS = {
    "client_encoding": "UTF8",
    "connect_timeout": "10",
    "min_protocol_version": "3.0",
    "max_protocol_version": "3.0",
}
# On a socket of this machine nothing is encrypted, and no variable may demand that it is.
_PRIVATE = {
    "channel_binding": "disable",
    "gssencmode": "disable",
    "sslcertmode": "disable",
    "sslmode": "disable",
}
# Variables that libpq turns into session settings; no keyword of a connection string overrides them.
_UNNAMED_VARIABLES = ("PGDATESTYLE", "PGTZ", "PGGEQO")
_NUMBERS = (
    "connect_timeout",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "tcp_user_timeout",
)
_MAX_PORT = 65535

_ESCAPES = "in a user or password write % as %25, @ as %40, / as %2F, : as %3A, ? as %3F and a blank as %20"
_FORMS = (
    "give postgresql://user:password@host:port/dbname, or key=value pairs with '…' around values with blanks"
)


class ConninfoError(PgbourseError):
    """A connection string can't be read. The text says why, and quotes no part of it."""


def parse(conninfo: str) -> dict[str, str]:
    """Return the values in a connection string, by libpq's keywords.

    It may be a URL or key=value pairs as for libpq, or a URL as for SQLAlchemy, with a driver's name in the
    scheme (postgresql+psycopg2://…). Raises ConninfoError.
    """
    text = conninfo.strip()
    if "\0" in text:
        raise ConninfoError("the database URL can't be read: it holds a null character")
    if scheme := _SCHEME.match(text):
        text = "postgresql://" + text[scheme.end() :]
        _refuse_ambiguous_url(text)
    given = _parse_with_libpq(text)
    if given is None:
        raise ConninfoError(f"the database URL can't be read: {_diagnose(text)}")
    for port in filter(None, given.get("port", "").split(",")):
        if not (port.isascii() and port.isdigit() and 1 <= int(port) <= _MAX_PORT):
            raise ConninfoError(
                f"the database URL can't be read: its port is no number from 1 to {_MAX_PORT}; {_ESCAPES}"
            )
    for keyword in _NUMBERS:
        if not re.fullmatch(r"-?[0-9]+|", given.get(keyword, ""), re.ASCII):
            raise ConninfoError(f"the database URL can't be read: its {keyword} is no whole number")
    return given


def complete(conninfo: str, **defaults: str | int) -> str:
    """Add to the connection string everything that the environment must not fill in, and return it.

    `defaults` are for keywords that it leaves out, such as application_name and connect_timeout (in seconds).
    With a `service`, that service fills in first. Raises ConninfoError.
    """
    given = parse(conninfo)
    named: dict[str, str | int] = {} if "service" in given else dict(_environments_share())
    return make_conninfo("", **(named | defaults | given))


def private_conninfo(folder: str, dbname: str, user: str = "postgres", port: int = 5432) -> str:
    """Return the connection string of a server whose socket in `folder` lets us in without a password.

    It names every keyword that a variable or file could fill in, except those that each caller chooses:
    application_name and connect_timeout.
    """
    keywords = _keywords()
    named = _environments_share() | {
        keyword: keywords[keyword][1] for keyword in _CREDENTIALS & keywords.keys()
    }
    del named["application_name"], named["connect_timeout"]
    named |= {keyword: value for keyword, value in _PRIVATE.items() if keyword in keywords}
    # An empty name of a password file would mean ~/.pgpass.
    named |= {"host": folder, "port": port, "user": user, "dbname": dbname, "passfile": f"{folder}/none"}
    return make_conninfo("", **named)


def short(conninfo: str) -> str:
    """Return the server, user and database of a connection string: any version of any client takes that."""
    given = conninfo_to_dict(conninfo)
    return make_conninfo("", **{keyword: given[keyword] for keyword in ("host", "port", "user", "dbname")})


def connect(conninfo: str, **defaults: str | int) -> psycopg.Connection[TupleRow]:
    """Connect in autocommit mode to what the connection string says, whatever the environment holds.

    `defaults` are as for `complete`. Raises ConninfoError, or psycopg.Error if it can't connect.
    """
    completed = complete(conninfo, **defaults)
    with hidden_environment():
        try:
            return psycopg.connect(completed, autocommit=True)
        except UnicodeError:  # from the resolver, and it quotes the host
            pass
    raise ConninfoError("the host of the database URL is no host name")


def forget_environment() -> list[str]:
    """Remove variables that must not fill in a connection string from our environment; return their names.

    For our own programs, at their start, while they have one thread.
    """
    found = [name for name in _ambient_variables() if name in os.environ]
    for name in found:
        del os.environ[name]
    return found


@contextmanager
def hidden_environment() -> Iterator[None]:
    """Hide those variables for the length of a with block, in a process that isn't ours.

    The environment belongs to the whole process, so only one thread at a time may do this.
    """
    if not any(name in os.environ for name in _ambient_variables()):
        yield
        return
    with _environment_lock:
        hidden = {name: os.environ.pop(name) for name in _ambient_variables() if name in os.environ}
        try:
            yield
        finally:
            os.environ.update(hidden)


_environment_lock = threading.Lock()  # guards the PG… variables of os.environ


@cache
def _keywords() -> dict[str, tuple[str, str]]:
    """Return libpq's keywords that a variable can fill in, with that variable and the default without it."""
    return {
        option.keyword.decode(): (option.envvar.decode(), (option.compiled or b"").decode())
        for option in pq.Conninfo.get_defaults()
        if option.envvar
    }


def _environments_share() -> dict[str, str | int]:
    """Return the keywords that the environment must not fill in, with their defaults."""
    open_ones = _keywords().keys() - _CREDENTIALS - {"service"}
    return {keyword: _DEFAULTS.get(keyword, _keywords()[keyword][1]) for keyword in sorted(open_ones)}


@cache
def _ambient_variables() -> tuple[str, ...]:
    closed = (variable for keyword, (variable, _) in _keywords().items() if keyword not in _CREDENTIALS)
    return (*closed, *_UNNAMED_VARIABLES)


def _parse_with_libpq(text: str) -> dict[str, str] | None:
    # Its errors quote what they can't read, so they must not leave this function, not even as a context.
    try:
        return {keyword: str(value) for keyword, value in conninfo_to_dict(text).items()}
    except (psycopg.Error, ValueError):
        return None


def _refuse_ambiguous_url(url: str) -> None:
    """Refuse a URL with an @ or / in its password, which libpq would misread.

    User and password end at the first @ before any /.
    """
    if not url.isprintable():
        raise ConninfoError("the database URL can't be read: it holds a character that can't be printed")
    rest = url.removeprefix("postgresql://")
    match = re.match(r"[^@/]*@", rest)
    place = rest[match.end() if match else 0 :].split("?", 1)[0]
    if "@" in place:
        raise ConninfoError(f"the database URL can't be read: it has a stray @ or /; {_ESCAPES}")


def _diagnose(text: str) -> str:
    """Return what is wrong with a connection string that libpq can't read, without quoting any of it."""
    if not text.startswith("postgresql://"):
        return f"it is neither a postgresql://… URL nor key=value pairs; {_FORMS}"
    if re.search(r"%(?![0-9A-Fa-f]{2})", text):
        return f"it has a stray %; {_ESCAPES}"
    if re.search(r"%00", text) or not _is_utf8(text):
        return "a %… in it makes no character of UTF-8"
    if re.search(r"\s", text):
        return f"it has a blank; {_ESCAPES}"
    return f"{_FORMS}; {_ESCAPES}"


def _is_utf8(url: str) -> bool:
    from urllib.parse import unquote_to_bytes

    try:
        unquote_to_bytes(url).decode()
    except UnicodeError:
        return False
    return True
