-- Checks that the events of all updates, carried out one after the other, make the book that there is and the executions.
--
-- Where the oldest updates of a symbol have been forgotten, those that are left must still tell all of what came to rest
-- since then, and no execution that there isn't.
create or replace function exchange.check_events()
returns table (
    invariant text,
    subject text,
    detail text
)
language sql
stable
as $$
with oldest as (
    select
        updates.symbol_key,
        min(updates.seq) as seq
    from exchange.updates
    group by updates.symbol_key
),

events as (
    select
        updates.symbol_key,
        updates.seq,
        event.ordinality as place,
        event.kind,
        event.side,
        case when event.kind = 'trade' and event.side = 'sell' then event.sell_order_id else event.order_id end as resting_id,
        event.order_id,
        event.sell_order_id,
        event.price,
        case when event.kind = 'add' then event.shares else -event.shares end as added
    from exchange.updates
    cross join lateral unnest(updates.events) with ordinality as event
    where event.kind in ('trade', 'remove', 'add')
),

-- What is open of each order after each event.
steps as (
    select
        events.symbol_key,
        events.side,
        events.price,
        events.resting_id as order_id,
        events.kind,
        sum(events.added) over by_event as shares,
        row_number() over by_event = count(*) over (partition by events.symbol_key, events.resting_id, events.side, events.price) as is_last
    from events
    window by_event as (
        partition by events.symbol_key, events.resting_id, events.side, events.price
        order by events.seq, events.place
    )
),

told as (
    select
        steps.symbol_key,
        steps.order_id,
        steps.side,
        steps.price,
        count(*) filter (where steps.kind = 'add') as adds,
        min(steps.shares) as least,
        max(steps.shares) filter (where steps.is_last) as shares
    from steps
    group by steps.symbol_key, steps.order_id, steps.side, steps.price
),

resting as (
    select
        resting_orders.symbol_key,
        resting_orders.order_id,
        resting_orders.side,
        abs(resting_orders.price_rank) as price,
        sum(resting_orders.open_shares) as shares
    from exchange.resting_orders
    group by resting_orders.symbol_key, resting_orders.order_id, resting_orders.side, resting_orders.price_rank
),

told_trades as (
    select
        events.symbol_key,
        events.order_id as buy_order_id,
        events.sell_order_id,
        events.price,
        -sum(events.added) as shares
    from events
    where events.kind = 'trade'
    group by events.symbol_key, events.order_id, events.sell_order_id, events.price
),

executed as (
    select
        executions.symbol_key,
        executions.buy_order_id,
        executions.sell_order_id,
        executions.price,
        sum(executions.shares) as shares
    from exchange.executions
    group by executions.symbol_key, executions.buy_order_id, executions.sell_order_id, executions.price
)

select
    'updates_make_the_book',
    format('order %s', order_id),
    format(
        'symbol %s, %s at %s: %s shares rest, by %s updates there are %s',
        coalesce(symbols.sym, 'with key ' || symbol_key), side, trim_scale(price), coalesce(resting.shares, 0),
        case when coalesce(oldest.seq, 1) = 1 then 'all' else 'the' end, coalesce(told.shares, 0)
    )
from told
full join resting using (symbol_key, order_id, side, price)
left join oldest using (symbol_key)
left join exchange.symbols using (symbol_key)
where
    (coalesce(oldest.seq, 1) = 1 or told.adds > 0)
    and (
        coalesce(told.shares, 0) <> coalesce(resting.shares, 0)
        or told.adds <> 1
        or told.least < 0
    )
union all
select
    'updates_tell_executions',
    format('orders %s and %s', buy_order_id, sell_order_id),
    format(
        'symbol %s: at %s they traded %s shares, by the updates %s',
        coalesce(symbols.sym, 'with key ' || symbol_key), trim_scale(price), coalesce(executed.shares, 0), coalesce(told_trades.shares, 0)
    )
from told_trades
full join executed using (symbol_key, buy_order_id, sell_order_id, price)
left join oldest using (symbol_key)
left join exchange.symbols using (symbol_key)
where
    (coalesce(oldest.seq, 1) = 1 or told_trades.shares is not null)
    and coalesce(told_trades.shares, 0) <> coalesce(executed.shares, 0)
$$;

comment on function exchange.check_events() is
'A row for each order that rests otherwise than the events of all updates make it, and each two orders whose executions they don''t '
'tell. Of a symbol whose oldest updates are forgotten, that is those orders that came to rest since. Part of check_integrity.';

revoke all on function exchange.check_events() from public;
grant execute on function exchange.check_events() to exchange_reader;
