-- What is reserved for an order: cash for a buy, shares for a sell. Simple enough to be inlined.
create or replace function exchange.order_cost(p_side exchange.side, p_shares numeric, p_limit_price numeric)
returns numeric
language sql
immutable
parallel safe
return case p_side when 'buy' then p_shares * p_limit_price else p_shares end;

comment on function exchange.order_cost(exchange.side, numeric, numeric) is
'The most that an order can cost: cash where it buys, shares where it sells.';

revoke all on function exchange.order_cost(exchange.side, numeric, numeric) from public;
