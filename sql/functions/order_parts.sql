-- The parts of an order's life: what is open or was cancelled, then every reduction, then every execution. Ordered by kind and place
-- they are told oldest first. Simple enough to be inlined.
create or replace function exchange.order_parts(
    p_order_id bigint,
    p_symbol_key bigint,
    p_side exchange.side,
    p_price_rank numeric
)
returns table (
    kind integer,
    place bigint,
    outcome text,
    shares numeric,
    price numeric,
    at timestamptz
)
language sql
stable
as $$
select
    0,
    0::bigint,
    'open',
    resting_orders.open_shares,
    null::numeric,
    null::timestamptz
from exchange.resting_orders
where
    resting_orders.symbol_key = p_symbol_key
    and resting_orders.side = p_side
    and resting_orders.price_rank = p_price_rank
    and resting_orders.order_id = p_order_id
union all
select
    0,
    cancellations.entry_id,
    'canceled',
    cancellations.shares::numeric,
    null,
    cancellations.canceled_at
from exchange.cancellations
where cancellations.order_id = p_order_id
union all
select
    1,
    reductions.entry_id,
    'reduced',
    reductions.shares::numeric,
    null,
    reductions.reduced_at
from exchange.reductions
where reductions.order_id = p_order_id
union all
select
    2,
    executions.execution_id,
    'executed',
    executions.shares::numeric,
    executions.price,
    executions.executed_at
from exchange.executions
where p_side = 'buy' and executions.buy_order_id = p_order_id
union all
select
    2,
    executions.execution_id,
    'executed',
    executions.shares::numeric,
    executions.price,
    executions.executed_at
from exchange.executions
where p_side = 'sell' and executions.sell_order_id = p_order_id
$$;

comment on function exchange.order_parts(bigint, bigint, exchange.side, numeric) is
'What has become of an order: at most one row open or canceled (kind 0), a row for each reduction (1) and each execution (2). It is '
'named with its place in the book, as account_order tells it.';

revoke all on function exchange.order_parts(bigint, bigint, exchange.side, numeric) from public;
