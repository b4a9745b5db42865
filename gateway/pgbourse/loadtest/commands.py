"""The commands `generate` and `load`: their options only."""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from pgbourse.client.tlsoptions import tls_options
from pgbourse.loadtest.templates import KINDS
from pgbourse.options import server_options

if TYPE_CHECKING:
    import ssl

__all__ = ["generate", "load"]

_Command = Callable[..., Any]

_SHARE = click.FloatRange(0, 1)
_COUNT = click.IntRange(1)
_FILE = click.Path(dir_okay=False, path_type=Path)
_FRAMINGS = {"length": "LENGTH_LINE", "binary": "BINARY_LENGTH", "bare": "BARE"}


def _together(*options: Callable[[_Command], _Command]) -> Callable[[_Command], _Command]:
    def decorate(command: _Command) -> _Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def _option(*names: str, default: Any = None, **keywords: Any) -> Callable[[_Command], _Command]:
    return click.option(*names, default=default, show_default=default is not None, **keywords)


def _mix(accounts: int, symbols: int, queries: float, cancels: float) -> Callable[[_Command], _Command]:
    """Give a command the options of a workload, with these defaults."""
    return _together(
        _option("--orders", default=1, type=click.IntRange(1, 10_000), help="Requests in a document."),
        _option(
            "--accounts", default=accounts, type=_COUNT, help="Accounts, drawn at random for each document."
        ),
        _option("--symbols", default=symbols, type=_COUNT, help="Symbols, drawn at random for each order."),
        _option("--spread", default=5.0, type=click.FloatRange(0, 99), help="Prices lie this close to 100."),
        _option("--queries", default=queries, type=_SHARE, help="Share of the requests that query an order."),
        _option(
            "--cancels", default=cancels, type=_SHARE, help="Share of the requests that cancel an order."
        ),
        _option(
            "--mix",
            help="How often each kind of request is drawn, instead of --queries and --cancels: "
            f"order=80,ioc=10,market=5,replace=3,cancel=2, for example. The kinds: {', '.join(KINDS)}.",
        ),
        _option(
            "--refs",
            is_flag=True,
            default=False,
            help="Give each order a ref. What gets no answer is then sent again by load --reconnect until it "
            "has one, so that nothing stays unknown.",
        ),
        _option("--seed", default=1, type=int, help="The same seed gives the same documents."),
    )


@click.command()
@click.argument("number", type=_COUNT)
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@_mix(accounts=20, symbols=3, queries=0.2, cancels=0.1)
@_option("--first-account", type=click.IntRange(0), default=1, help="Lowest account number.")
@_option("--symbol-prefix", default="S", help="Prefix of the symbols' names.")
def generate(number: int, folder: Path, first_account: int, symbol_prefix: str, **mix: Any) -> None:
    """Write test documents, with the replies to expect. NUMBER of them into FOLDER, for an empty exchange.

    The first ones create accounts and symbols. Send each with `pgbourse send`, whose --expect compares the
    replies, or with any other client.
    """
    from pgbourse.loadtest.generate import generate

    generate(_workload(mix, first_account, symbol_prefix), number, folder)


@click.command()
@server_options
@_option("--clients", default=32, type=click.IntRange(1, 20_000), help="Connections.")
@_option("--seconds", type=click.FloatRange(0.1), help="How long; 10 unless --documents is given.")
@_option("--documents", type=_COUNT, help="Send this many documents.")
@_mix(accounts=1000, symbols=10, queries=0.0, cancels=0.0)
@_option(
    "--rate",
    type=click.FloatRange(0.1),
    help="Documents due a second, whether or not the server keeps up. Latency counts from when each was due.",
)
@_option("--first-account", type=click.IntRange(0), help="Lowest account number; random by default.")
@_option("--symbol-prefix", help="Prefix of the symbols' names; derived from the first account by default.")
@_option(
    "--request-framing",
    default="length",
    type=click.Choice(list(_FRAMINGS)),
    help="How documents are framed.",
)
@_option(
    "--new-connection-each", is_flag=True, default=False, help="Open a new connection for each document."
)
@_option(
    "--reconnect",
    is_flag=True,
    default=False,
    help="Carry on when the server closes connections or is away, as in a failover. What gets no answer then "
    "may or may not be done; --check finds out whether everything that was answered is still there.",
)
@_option(
    "--stall-seconds",
    type=click.FloatRange(0.1),
    help="Seconds of silence or absence after which a server has stalled: 10, or 60 with --reconnect.",
)
@_option(
    "--check",
    is_flag=True,
    default=False,
    help="Read every reply, query every order at the end, and verify that both sides of every trade agree.",
)
@_option(
    "--subscribers",
    default=0,
    type=click.IntRange(0, 20_000),
    help="Connections that follow the symbols meanwhile, and read what they are sent. With --check, the "
    "books that one of them keeps must be those that the server shows at the end.",
)
@_option("--json", "json_file", type=_FILE, help="Write the figures there.")
@_option("--progress/--no-progress", help="Show progress; by default on a terminal.")
@tls_options
def load(
    host: str,
    port: int,
    clients: int,
    seconds: float | None,
    documents: int | None,
    rate: float | None,
    first_account: int | None,
    symbol_prefix: str | None,
    request_framing: str,
    new_connection_each: bool,
    reconnect: bool,
    stall_seconds: float | None,
    check: bool,
    subscribers: int,
    json_file: Path | None,
    progress: bool | None,
    tls: "ssl.SSLContext | None",
    **mix: Any,
) -> int:
    """Put load on a server of this protocol and measure it.

    It first creates accounts of its own. Exits with 1 if the server fails or --check finds anything. With
    --reconnect, lost connections alone are not a failure.
    """
    from pgbourse.loadtest.connections import Target
    from pgbourse.loadtest.load import LoadSettings, load
    from pgbourse.loadtest.workload import fresh_account, fresh_prefix
    from pgbourse.wire.framing import Framing

    if tls is not None and new_connection_each:
        raise click.UsageError("--new-connection-each does not work with TLS")
    if subscribers and reconnect:
        raise click.UsageError("--subscribers does not work with --reconnect")
    if stall_seconds is None:
        stall_seconds = 60.0 if reconnect else 10.0
    if seconds is None and documents is None:
        seconds = 10.0
    first = fresh_account() if first_account is None else first_account
    prefix = fresh_prefix(first) if symbol_prefix is None else symbol_prefix
    return load(
        LoadSettings(
            target=Target(
                host,
                port,
                Framing[_FRAMINGS[request_framing]],
                new_connection_each=new_connection_each,
                stall_seconds=stall_seconds,
                tls=tls,
                reconnect=reconnect,
            ),
            workload=_workload(mix, first, prefix),
            clients=clients,
            seconds=seconds,
            documents=documents,
            rate=rate,
            check=check,
            subscribers=subscribers,
            json_file=json_file,
            progress=sys.stderr.isatty() if progress is None else progress,
        )
    )


def _workload(mix: dict[str, Any], first_account: int, symbol_prefix: str) -> Any:
    from pgbourse.loadtest.workload import Workload

    asked = click.get_current_context().get_parameter_source
    if mix["mix"] is not None and ParameterSource.COMMANDLINE in (asked("queries"), asked("cancels")):
        raise click.UsageError(
            "--mix says how many queries and cancels there are: leave --queries and --cancels out"
        )
    if mix["queries"] + mix["cancels"] > 1:
        raise click.BadParameter("--queries and --cancels must add up to at most 1")
    if not re.fullmatch("[A-Za-z0-9]+", symbol_prefix):
        raise click.BadParameter(f"--symbol-prefix {symbol_prefix!r} must be ASCII letters and digits")
    mix |= {"mix": _read_mix(mix["mix"]), "refs": "r" if mix["refs"] else ""}
    return Workload(first_account=first_account, symbol_prefix=symbol_prefix, **mix)


def _read_mix(text: str | None) -> list[tuple[str, float]]:
    """Read what --mix says: kinds, and how often each is drawn."""
    found = []
    for part in (text or "").split(",") if text is not None else ():
        kind, _, weight = part.strip().partition("=")
        if kind not in KINDS or not re.fullmatch(r"[0-9]+(\.[0-9]+)?", weight):
            raise click.BadParameter(
                f"--mix has {part.strip()!r}: it must be a kind and a number, such as ioc=10; "
                f"the kinds are {', '.join(KINDS)}"
            )
        found.append((kind, float(weight)))
    if text is not None and not sum(weight for _, weight in found):
        raise click.BadParameter("--mix draws nothing: one number must be above 0")
    return found
