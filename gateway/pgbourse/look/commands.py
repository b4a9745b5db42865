"""The commands that look at an exchange: their options only."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pgbourse.client.tlsoptions import tls_options
from pgbourse.options import database_options, server_options, timeout_option

if TYPE_CHECKING:
    import ssl

__all__ = ["account", "book", "psql", "shell", "tape"]

_Command = Callable[..., Any]

_json = click.option("--json", "as_json", is_flag=True, help="Print JSON: prices and shares as text.")


def _acting(default: str | None, text: str) -> Callable[[_Command], _Command]:
    return click.option(
        "--account",
        "account_id",
        default=default,
        show_default=default is not None,
        envvar="PGBOURSE_ACCOUNT",
        show_envvar=True,
        help=text,
    )


def _client_options(command: _Command) -> _Command:
    """Give a command the options of a client: `host`, `port`, `timeout` and `tls`."""
    return server_options(timeout_option(tls_options(command)))


@click.command()
@click.argument("sym")
@click.option(
    "--depth", type=click.IntRange(1, 1000), default=10, show_default=True, help="Prices of each side."
)
@_acting(None, "The account that looks. Without it, any way of looking that the server has will do.")
@_json
@_client_options
def book(
    sym: str,
    depth: int,
    account_id: str | None,
    as_json: bool,
    host: str,
    port: int,
    timeout: float,
    tls: "ssl.SSLContext | None",
) -> None:
    """Print a symbol's best prices, and how much there is at each."""
    from pgbourse.look.asking import ServerAddress
    from pgbourse.look.book import show_book

    show_book(ServerAddress(host, port, timeout, tls), sym, account_id, depth, json=as_json)


@click.command()
@click.argument("account_id", metavar="ACCOUNT")
@click.option("--orders", is_flag=True, help="List its open orders as well.")
@_json
@_client_options
def account(
    account_id: str,
    orders: bool,
    as_json: bool,
    host: str,
    port: int,
    timeout: float,
    tls: "ssl.SSLContext | None",
) -> None:
    """Print what an account has. What its open orders have reserved of it stands apart."""
    from pgbourse.look.account import show_account
    from pgbourse.look.asking import ServerAddress

    show_account(ServerAddress(host, port, timeout, tls), account_id, orders=orders, json=as_json)


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@database_options
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[PSQL'S OWN]...")
def psql(
    database_url: str | None,
    database_password_file: Path | None,
    data_dir: Path,
    arguments: tuple[str, ...],
) -> None:
    """Open psql on the exchange's database. Options of psql's own follow ours.

    Without a database URL that is the embedded PostgreSQL of a running `pgbourse serve`. Names without a
    schema are looked for in the schema exchange.
    """
    from pgbourse.database.looking import looking
    from pgbourse.look.psql import run_psql

    with looking(database_url, database_password_file, data_dir, starts=False) as looked:
        run_psql(looked.url, arguments, embedded=database_url is None)


@click.command()
@click.argument("sym")
@click.option("-n", "--number", type=click.IntRange(0, 10_000), default=20, show_default=True, help="Trades.")
@click.option("--follow", is_flag=True, help="Go on with each trade as it comes, until Ctrl-C.")
@_json
@_client_options
def tape(
    sym: str,
    number: int,
    follow: bool,
    as_json: bool,
    host: str,
    port: int,
    timeout: float,
    tls: "ssl.SSLContext | None",
) -> None:
    """Print a symbol's last trades. The latest is at the end; the server keeps them for a day or so.

    With --json each is an object on a line.
    """
    from pgbourse.look.asking import ServerAddress
    from pgbourse.look.tape import show_tape

    show_tape(ServerAddress(host, port, timeout, tls), sym, number, follow=follow, json=as_json)


@click.command()
@_acting("1", "The account whose requests they are; use ID changes that.")
@_client_options
def shell(account_id: str, host: str, port: int, timeout: float, tls: "ssl.SSLContext | None") -> int:
    """Trade by hand, with commands such as buy SPY 100 @ 145.5. XML will do as well.

    On a terminal there is a prompt, with completion and a history. Commands may come from a pipe as well; it
    then exits with 1 if any was refused.
    """
    from pgbourse.look.asking import ServerAddress
    from pgbourse.look.shell import converse

    return converse(ServerAddress(host, port, timeout, tls), account_id)
