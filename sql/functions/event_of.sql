-- An event of a match: what happened to an incoming order. Simple enough to be inlined.
create or replace function exchange.event_of(
    p_kind exchange.event_kind,
    p_order exchange.incoming_orders,
    p_order_id bigint,
    p_shares numeric,
    p_resting_place integer,
    p_resting exchange.run_resting
)
returns exchange.run_event
language sql
immutable
parallel safe
return row(
    p_kind,
    p_order.side,
    p_order.symbol_key,
    p_order.account_key,
    p_order_id,
    p_resting_place,
    p_resting.order_id,
    p_resting.account_key,
    p_shares,
    abs(p_resting.price_rank),
    p_order.limit_price,
    (p_order.terms).budget
)::exchange.run_event;

comment on function exchange.event_of(
    exchange.event_kind, exchange.incoming_orders, bigint, numeric, integer, exchange.run_resting
) is
'The event that tells of so many shares of an incoming order, or of a resting one that it met; then also of which.';

revoke all on function exchange.event_of(
    exchange.event_kind, exchange.incoming_orders, bigint, numeric, integer, exchange.run_resting
) from public;
