-- The side in what side_key made. Simple enough to be inlined.
create or replace function exchange.side_key_side(p_side_key bigint)
returns exchange.side
language sql
immutable
parallel safe
return exchange.side_of(p_side_key % 2 = 0);

comment on function exchange.side_key_side(bigint) is
'buy or sell of a side of the book, from what side_key returned.';

revoke all on function exchange.side_key_side(bigint) from public;
