-- The symbol_key in what side_key made. Simple enough to be inlined.
create or replace function exchange.side_key_symbol(p_side_key bigint)
returns bigint
language sql
immutable
parallel safe
return p_side_key / 2;

comment on function exchange.side_key_symbol(bigint) is
'The symbol_key of a side of the book, from what side_key returned.';

revoke all on function exchange.side_key_symbol(bigint) from public;
