"""Options that several commands have, made from the settings, so that nothing is written twice.

Every option can also be set in the environment, under one name for all commands: --port is PGBOURSE_PORT.
"""

import dataclasses
import os
import re
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from pgbourse.settings import ServeSettings

__all__ = ["EnvironmentOption", "database_options", "server_options", "setting_options", "timeout_option"]

_Command = Callable[..., Any]
_Told = dict[str, dict[str, Any]]  # what an option says, by the name of its setting
_Field = dataclasses.Field[Any]

# What Kubernetes (and Docker's links) put into every container's environment for a service called pgbourse
# or pgbourse-…: PGBOURSE_PORT=tcp://10.1.2.3:12345, PGBOURSE_HTTP_PORT=tcp://….
_SERVICE_LINK = re.compile(r"(tcp|udp|sctp)://\S+")

# What settings of a server mean to a command that runs none.
_OF_A_DATABASE: _Told = {
    "database_url": {
        "help": "The exchange's database, as postgresql://… or key=value text (set it in the environment, "
        "not here, if it holds a password). Without it, the one in the data folder is meant.",
        "without": "the exchange in the data folder is meant",
    },
    "database_password_file": {"help": "File with the password of the database URL's role."},
    "data_dir": {"help": "Data folder of an exchange with its own PostgreSQL; unused with a database URL."},
}
_OF_A_SERVER: _Told = {
    "host": {"help": "Address to connect to."},
    "port": {"help": "Port to connect to.", "minimum": 1},
}


class EnvironmentOption(click.Option):
    """An option that takes its value from its variables, unless Kubernetes has put a service's address there.

    Of the names that Kubernetes sets, only those that end in _PORT can be the same as ours. The first
    variable that has a value counts: its old name comes after its name.
    """

    def resolve_envvar_value(self, _: click.Context) -> str | None:
        names = [self.envvar] if isinstance(self.envvar, str) else self.envvar or []
        for name in names:
            value = os.environ.get(name)
            if value and not (name.endswith("_PORT") and _SERVICE_LINK.fullmatch(value)):
                return value
        return None


def setting_options(*names: str) -> Callable[[_Command], _Command]:
    """Give a command these settings as options, in this order; without names, all of them."""
    return _options(names, {})


def database_options(command: _Command) -> _Command:
    """Give a command that is about an exchange's database the options that say which one."""
    return _options(tuple(_OF_A_DATABASE), _OF_A_DATABASE)(command)


def server_options(command: _Command) -> _Command:
    """Give a command that is a client the options `host` and `port`."""
    return _options(tuple(_OF_A_SERVER), _OF_A_SERVER)(command)


# How long a command waits that somebody waits for.
timeout_option = click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=5.0,
    show_default=True,
    help="Seconds to wait for an answer.",
)


def _options(names: tuple[str, ...], told: _Told) -> Callable[[_Command], _Command]:
    """Give a command these settings as options. `told` overrides what their fields say, by name."""
    fields = {field.name: field for field in dataclasses.fields(ServeSettings)}
    types = typing.get_type_hints(ServeSettings)

    def decorate(command: _Command) -> _Command:
        for name in reversed(names or tuple(fields)):
            metadata = {**fields[name].metadata, **told.get(name, {})}
            command = _option(fields[name], types[name], metadata)(command)
        return command

    return decorate


def _option(field: _Field, type_: Any, metadata: dict[str, Any]) -> Callable[[_Command], _Command]:
    names = [name for name in (field.name, metadata.get("old_name")) if name]
    flag, *old_flags = ["--" + name.replace("_", "-") for name in names]
    default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
    without = metadata.get("without")
    return click.option(
        f"{flag}/--no-{flag[2:]}" if type_ is bool else flag,
        *old_flags,
        field.name,
        cls=EnvironmentOption,
        type=_click_type(field.name, type_, metadata),
        default=default,
        show_default=default is not None,
        envvar=[f"PGBOURSE_{name.upper()}" for name in names],
        show_envvar=True,
        help=metadata["help"],
        callback=_refuse_empty(field.name, without) if without else None,
    )


def _refuse_empty(name: str, without: str) -> Callable[..., Any]:
    """Make a check that refuses an empty value; from a variable, click would take that for no value."""
    variable = f"PGBOURSE_{name.upper()}"

    def check(_: click.Context, option: click.Parameter, value: Any) -> Any:
        given = os.environ.get(variable) if value is None else value
        if given is not None and not str(given).strip():
            where = f"{variable} (or {option.opts[0]})"
            raise click.UsageError(f"{where} is empty: leave it out, and {without}")
        return value

    return check


def _click_type(name: str, type_: Any, metadata: dict[str, Any]) -> Any:
    minimum, maximum = metadata.get("minimum"), metadata.get("maximum")
    given = [part for part in typing.get_args(type_) if part is not type(None)]
    if len(given) == 1:  # an optional setting
        type_ = given[0]
    if typing.get_origin(type_) is typing.Literal:
        return click.Choice(typing.get_args(type_))
    if type_ is int:
        return click.IntRange(minimum, maximum)
    if type_ is float:
        return click.FloatRange(minimum, maximum)
    if type_ is Path:
        is_folder = name.endswith("_dir")
        return click.Path(file_okay=not is_folder, dir_okay=is_folder, path_type=Path)
    return bool if type_ is bool else str
