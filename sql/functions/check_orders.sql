-- Checks that each order's shares are open, executed, cancelled or taken off by a reduction, and that these add up.
create or replace function exchange.check_orders()
returns table (
    invariant text,
    subject text,
    detail text
)
language sql
stable
as $$
with parts as (
    select
        resting_orders.order_id,
        resting_orders.open_shares as open,
        0 as executed,
        0 as canceled,
        0 as reduced
    from exchange.resting_orders
    union all
    select
        executions.buy_order_id,
        0 as open,
        executions.shares as executed,
        0 as canceled,
        0 as reduced
    from exchange.executions
    union all
    select
        executions.sell_order_id,
        0 as open,
        executions.shares as executed,
        0 as canceled,
        0 as reduced
    from exchange.executions
    union all
    select
        cancellations.order_id,
        0 as open,
        0 as executed,
        cancellations.shares as canceled,
        0 as reduced
    from exchange.cancellations
    union all
    select
        reductions.order_id,
        0 as open,
        0 as executed,
        0 as canceled,
        reductions.shares as reduced
    from exchange.reductions
),

lives as (
    select
        parts.order_id,
        sum(parts.open) as open,
        sum(parts.executed) as executed,
        sum(parts.canceled) as canceled,
        sum(parts.reduced) as reduced
    from parts
    group by parts.order_id
)

select
    'order_adds_up',
    format('order %s', orders.order_id),
    format(
        'placed for %s, but open %s, executed %s, cancelled %s, reduced %s',
        trim_scale(orders.shares),
        trim_scale(coalesce(lives.open, 0)), trim_scale(coalesce(lives.executed, 0)),
        trim_scale(coalesce(lives.canceled, 0)), trim_scale(coalesce(lives.reduced, 0))
    )
from exchange.orders
left join lives on orders.order_id = lives.order_id
where orders.shares is distinct from lives.open + lives.executed + lives.canceled + lives.reduced
union all
select
    'order_open_or_canceled',
    format('order %s', lives.order_id),
    format('open %s, and yet cancelled %s', trim_scale(lives.open), trim_scale(lives.canceled))
from lives
where lives.open <> 0 and lives.canceled <> 0
$$;

comment on function exchange.check_orders() is
'A row for each order of which open, executed, cancelled and reduced shares are not what was ordered, or which is open and '
'cancelled at once. Part of check_integrity.';

revoke all on function exchange.check_orders() from public;
grant execute on function exchange.check_orders() to exchange_reader;
