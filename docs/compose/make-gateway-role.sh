#!/bin/bash
# The PostgreSQL image runs this once, after initdb. It creates the role that the gateway logs in as, which may execute the API
# functions of the schema exchange (through exchange_gateway, to which `pgbourse migrate` grants them) and nothing else.
set -euo pipefail

psql --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" --no-psqlrc --quiet <<'SQL'
\set password `cat /run/pgbourse/gateway/password`
create role exchange_gateway nologin;
-- A role of this name that has members must be known to be ours, or `pgbourse migrate` refuses it.
comment on role exchange_gateway is 'pgbourse: may execute the API functions of the schema exchange';
create role gateway login password :'password' in role exchange_gateway;
SQL
