-- What is reserved for an order: for a buy cash, which is its budget where it has no limit; for a sell shares. Simple enough to be
-- inlined.
create or replace function exchange.order_cost(
    p_side exchange.side,
    p_shares numeric,
    p_limit_price numeric,
    p_budget numeric default null
)
returns numeric
language sql
immutable
parallel safe
return case p_side when 'buy' then coalesce(p_shares * p_limit_price, p_budget) else p_shares end;

comment on function exchange.order_cost(exchange.side, numeric, numeric, numeric) is
'The most that an order can cost: cash where it buys, shares where it sells.';

revoke all on function exchange.order_cost(exchange.side, numeric, numeric, numeric) from public;
