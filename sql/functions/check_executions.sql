-- Checks each fill against its two orders: sides, symbol, limits and price.
create or replace function exchange.check_executions()
returns table (
    invariant text,
    subject text,
    detail text
)
language sql
stable
as $$
with fills as (
    select
        executions.execution_id,
        executions.symbol_key,
        executions.shares,
        executions.price,
        executions.buy_limit,
        executions.sell_limit,
        bought.order_id as buy_order_id,
        bought.side as buy_side,
        bought.symbol_key as buy_symbol_key,
        bought.limit_price as placed_buy_limit,
        sold.order_id as sell_order_id,
        sold.side as sell_side,
        sold.symbol_key as sell_symbol_key,
        sold.limit_price as placed_sell_limit,
        case when bought.order_id < sold.order_id then bought.limit_price else sold.limit_price end as earlier_limit
    from exchange.executions
    inner join exchange.orders as bought on executions.buy_order_id = bought.order_id
    inner join exchange.orders as sold on executions.sell_order_id = sold.order_id
)

select
    'execution_agrees_with_orders',
    format('execution %s', fills.execution_id),
    format(
        'buy order %s is a %s of symbol key %s at %s, sell order %s a %s of %s at %s; '
        'the execution has symbol key %s, limits %s and %s',
        fills.buy_order_id, fills.buy_side, fills.buy_symbol_key, trim_scale(fills.placed_buy_limit),
        fills.sell_order_id, fills.sell_side, fills.sell_symbol_key, trim_scale(fills.placed_sell_limit),
        fills.symbol_key, trim_scale(fills.buy_limit), trim_scale(fills.sell_limit)
    )
from fills
where
    fills.buy_side <> 'buy'
    or fills.sell_side <> 'sell'
    or fills.buy_symbol_key <> fills.symbol_key
    or fills.sell_symbol_key <> fills.symbol_key
    or fills.buy_limit is distinct from fills.placed_buy_limit
    or fills.sell_limit is distinct from fills.placed_sell_limit
union all
select
    'execution_is_within_limits',
    format('execution %s', fills.execution_id),
    format(
        'price %s; order %s buys up to %s, order %s sells from %s',
        trim_scale(fills.price), fills.buy_order_id, trim_scale(fills.placed_buy_limit),
        fills.sell_order_id, trim_scale(fills.placed_sell_limit)
    )
from fills
where fills.price > fills.placed_buy_limit or fills.price < fills.placed_sell_limit
union all
select
    'execution_is_at_earlier_limit',
    format('execution %s', fills.execution_id),
    format(
        'price %s, but order %s was open first, and its limit is %s',
        trim_scale(fills.price), least(fills.buy_order_id, fills.sell_order_id), trim_scale(fills.earlier_limit)
    )
from fills
where fills.price is distinct from fills.earlier_limit
union all
select
    'execution_is_of_shares',
    format('execution %s', fills.execution_id),
    format('%s shares', trim_scale(fills.shares))
from fills
where (fills.shares > 0 and fills.shares < 'Infinity') is not true
$$;

comment on function exchange.check_executions() is
'A row for each fill whose orders are not a buy and a sell of its symbol with the limits that it repeats, or whose price '
'is outside of them or not the limit of the earlier order. Part of check_integrity.';

revoke all on function exchange.check_executions() from public;
grant execute on function exchange.check_executions() to exchange_reader;
