"""A file of settings, TOML, beside options and variables, which both win over it.

A table is for the command that it is named for, and what stands before all tables for every command that has
the option:

    data_dir = "/srv/exchange"

    [serve]
    port = 5000
    http_port = 12346
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

__all__ = ["read_config", "use_config"]


def use_config(context: click.Context, _: click.Parameter, path: Path | None) -> Path | None:
    """Take an option's file as the defaults of all commands. Raises click.UsageError if it can't be used."""
    if path is not None:
        assert isinstance(context.command, click.Group)
        context.default_map = read_config(path, context.command.commands)
    return path


def read_config(path: Path, commands: Mapping[str, click.Command]) -> dict[str, dict[str, Any]]:
    """Return what a file says, as defaults of commands by the names of their parameters.

    Raises click.UsageError if it can't be read, or names what isn't an option.
    """
    try:
        with path.open("rb") as file:
            said = tomllib.load(file)
    except OSError as error:
        raise click.UsageError(f"can't read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise click.UsageError(f"{path} is not TOML: {error}") from error
    for_all = {name: value for name, value in said.items() if not isinstance(value, dict)}
    defaults: dict[str, dict[str, Any]] = {}
    used: set[str] = set()
    for name, command in commands.items():
        options = _options_of(command)
        shared = {key: value for key, value in for_all.items() if _plain(key) in options}
        used |= shared.keys()
        defaults[name] = {options[_plain(key)]: value for key, value in shared.items()}
    for key in for_all.keys() - used:
        raise click.UsageError(f"{path}: no command has an option --{_dashed(key)}")
    for name, table in said.items():
        if isinstance(table, dict):
            own = _defaults_of(path, name, table, commands)
            defaults[name] |= own
    return defaults


def _defaults_of(
    path: Path, name: str, table: dict[str, Any], commands: Mapping[str, click.Command]
) -> dict[str, Any]:
    if name not in commands:
        raise click.UsageError(f"{path}: there is no command {name}: there are {', '.join(sorted(commands))}")
    options = _options_of(commands[name])
    for key in table:
        if _plain(key) not in options:
            raise click.UsageError(f"{path}: {name} has no option --{_dashed(key)}")
    return {options[_plain(key)]: value for key, value in table.items()}


def _options_of(command: click.Command) -> dict[str, str]:
    """Return the names under which a file may have a command's options, each with its parameter's name."""
    return {
        _plain(text.lstrip("-")): option.name
        for option in command.params
        if isinstance(option, click.Option) and option.name is not None and not option.is_eager
        for text in (*option.opts, option.name)
        if len(text.lstrip("-")) > 1
    }


def _plain(key: str) -> str:
    return key.replace("-", "_")


def _dashed(key: str) -> str:
    return key.replace("_", "-")
