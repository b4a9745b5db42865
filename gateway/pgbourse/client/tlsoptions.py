"""The TLS options of the commands that connect to a server."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

__all__ = ["tls_options"]

_Command = Callable[..., Any]


def tls_options(command: _Command) -> _Command:
    """Give a command the options, and what they mean as the argument `tls`: an SSL context, or None."""

    @functools.wraps(command)
    def with_context(
        *arguments: Any,
        tls_ca: Path | None,
        tls_cert: Path | None,
        client_cert: Path | None,
        client_key: Path | None,
        **options: Any,
    ) -> Any:
        context = None
        if tls_ca or tls_cert or client_cert or client_key:
            from pgbourse.tls import client_context  # who speaks no TLS needn't wait for its import

            context = client_context(tls_ca, client_cert, client_key, pinned=tls_cert)
        return command(*arguments, tls=context, **options)

    for flag, text in reversed(
        (
            ("--tls-ca", "Speak TLS; the server's certificate must be signed by an authority in this file."),
            (
                "--tls-cert",
                "Speak TLS; the server's certificate must be the one in this file, which `serve` has too.",
            ),
            ("--client-cert", "Certificate to present to a server that asks for one."),
            ("--client-key", "Its key; by default in the same file."),
        )
    ):
        with_context = click.option(
            flag,
            type=click.Path(dir_okay=False, path_type=Path),
            envvar=f"PGBOURSE_{flag[2:].upper().replace('-', '_')}",
            show_envvar=True,
            help=text,
        )(with_context)
    return with_context
