-- The symbol_key in what position_key made. Simple enough to be inlined.
create or replace function exchange.position_key_symbol(p_position_key bigint)
returns bigint
language sql
immutable
parallel safe
return p_position_key & 268435455;

comment on function exchange.position_key_symbol(bigint) is
'The symbol_key of a position, from what position_key returned.';

revoke all on function exchange.position_key_symbol(bigint) from public;
