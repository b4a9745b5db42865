"""Options of the command line that may take their value from the environment."""

import os
import re

import click

__all__ = ["EnvironmentOption"]

# What Kubernetes (and Docker's links) put into every container's environment for a service called pgbourse
# or pgbourse-…: PGBOURSE_PORT=tcp://10.1.2.3:12345, PGBOURSE_HTTP_PORT=tcp://….
_SERVICE_LINK = re.compile(r"(tcp|udp|sctp)://\S+")


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
