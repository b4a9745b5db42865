-- Where a limit stands on its side of the book: ascending is best first on both sides. Simple enough to be inlined.
create or replace function exchange.price_rank(p_side exchange.side, p_limit numeric)
returns numeric
language sql
immutable
parallel safe
return case p_side when 'buy' then -p_limit else p_limit end;

comment on function exchange.price_rank(exchange.side, numeric) is
'The price_rank of an order in resting_orders: the limit of a sell, minus the limit of a buy.';

revoke all on function exchange.price_rank(exchange.side, numeric) from public;
