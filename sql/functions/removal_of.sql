-- The event that so many shares of a resting order were cancelled. Simple enough to be inlined.
create or replace function exchange.removal_of(p_resting exchange.resting_orders, p_shares numeric)
returns exchange.run_event
language sql
immutable
parallel safe
return row(
    'remove',
    case p_resting.side when 'buy' then 'sell' else 'buy' end,
    p_resting.symbol_key,
    p_resting.account_key,
    null,
    null,
    p_resting.order_id,
    p_resting.account_key,
    p_shares,
    abs(p_resting.price_rank),
    null,
    null
)::exchange.run_event;

comment on function exchange.removal_of(exchange.resting_orders, numeric) is
'The event that tells that so many shares of a resting order were cancelled, as if an order of the other side had removed them.';

revoke all on function exchange.removal_of(exchange.resting_orders, numeric) from public;
