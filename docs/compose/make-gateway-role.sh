#!/bin/bash
# Run once by the PostgreSQL image, when it has made its data: the role that the gateway logs in as. It may execute the
# API functions of the schema exchange (by way of exchange_gateway, whom `pgbourse migrate` grants them) and nothing else.
set -euo pipefail

psql --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" --no-psqlrc --quiet <<'SQL'
\set password `cat /run/pgbourse/gateway/password`
create role exchange_gateway nologin;
create role gateway login password :'password' in role exchange_gateway;
SQL
