-- One number for a side of the book: the symbol_key doubled, plus 1 for the sells. Simple enough to be inlined.
create or replace function exchange.side_key(p_symbol_key bigint, p_buying boolean)
returns bigint
language sql
immutable
parallel safe
return p_symbol_key * 2 + (not p_buying)::integer;

comment on function exchange.side_key(bigint, boolean) is
'A symbol and a side of its book in one number, for the match to find it by binary search.';

revoke all on function exchange.side_key(bigint, boolean) from public;
