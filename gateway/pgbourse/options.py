"""Options of the command line whose value may come from the environment."""

import re

import click

__all__ = ["EnvironmentOption"]

# What Kubernetes (and Docker's links) put into every container's environment for a service that is called
# pgbourse or pgbourse-…: PGBOURSE_PORT=tcp://10.1.2.3:12345, PGBOURSE_METRICS_PORT=tcp://….
_SERVICE_LINK = re.compile(r"(tcp|udp|sctp)://\S+")


class EnvironmentOption(click.Option):
    """An option that takes its value from its variable, unless Kubernetes put a service's address there.

    Of what Kubernetes sets, only names that end in _PORT can be those of our settings.
    """

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        value = super().resolve_envvar_value(ctx)
        if value is not None and str(self.envvar).endswith("_PORT") and _SERVICE_LINK.fullmatch(value):
            return None
        return value
