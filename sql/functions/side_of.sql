-- The side of an order that buys, or does not. Simple enough to be inlined.
create or replace function exchange.side_of(p_buying boolean)
returns exchange.side
language sql
immutable
parallel safe
return case when p_buying then 'buy'::exchange.side else 'sell'::exchange.side end;

comment on function exchange.side_of(boolean) is
'buy if true, else sell.';

revoke all on function exchange.side_of(boolean) from public;
