-- The numbers that the protocol allows: finite, at most 18 digits before and 20 after the point. Trailing zeros don't
-- count: 450.0 / 4 has sixteen of them in PostgreSQL.
create or replace function exchange.is_number(p_value numeric)
returns boolean
language sql
immutable
parallel safe
return coalesce(abs(p_value) < 1e18 and min_scale(p_value) <= 20, false);

comment on function exchange.is_number(numeric) is
'Whether a value is a number that the exchange takes: finite, at most 18 digits before and 20 after the point.';

revoke all on function exchange.is_number(numeric) from public;
