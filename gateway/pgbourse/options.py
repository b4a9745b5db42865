"""Options of the command line that may take their value from the environment."""

import re

import click

__all__ = ["EnvironmentOption"]

# What Kubernetes (and Docker's links) put into every container's environment for a service called pgbourse
# or pgbourse-…: PGBOURSE_PORT=tcp://10.1.2.3:12345, PGBOURSE_METRICS_PORT=tcp://….
_SERVICE_LINK = re.compile(r"(tcp|udp|sctp)://\S+")


class EnvironmentOption(click.Option):
    """An option that takes its value from its variable, unless Kubernetes has put a service's address there.

    Of the names that Kubernetes sets, only those that end in _PORT can be the same as ours.
    """

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        value = super().resolve_envvar_value(ctx)
        if value is not None and str(self.envvar).endswith("_PORT") and _SERVICE_LINK.fullmatch(value):
            return None
        return value
