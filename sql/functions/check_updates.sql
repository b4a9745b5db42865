-- Checks that the updates of each symbol follow each other, and that the last ones tell what is now.
create or replace function exchange.check_updates()
returns table (
    invariant text,
    subject text,
    detail text
)
language sql
stable
as $$
with kept as (
    select
        updates.symbol_key,
        updates.seq,
        updates.updated_at,
        lag(updates.seq) over by_seq as previous_seq,
        lag(updates.updated_at) over by_seq as previous_at
    from exchange.updates
    window by_seq as (partition by updates.symbol_key order by updates.seq)
),

best as (
    select distinct on (resting_orders.symbol_key, resting_orders.side)
        resting_orders.symbol_key,
        resting_orders.side,
        resting_orders.price_rank,
        resting_orders.order_id
    from exchange.resting_orders
    order by resting_orders.symbol_key, resting_orders.side, resting_orders.price_rank, resting_orders.order_id
),

newest as (
    select distinct on (updates.symbol_key)
        updates.symbol_key,
        updates.bid_rank,
        updates.bid_id,
        updates.ask_rank,
        updates.ask_id,
        updates.last_price
    from exchange.updates
    order by updates.symbol_key, updates.seq desc
),

told as (
    select
        newest.symbol_key,
        sides.side,
        sides.price_rank,
        sides.order_id
    from newest
    cross join lateral (
        values ('buy'::exchange.side, newest.bid_rank, newest.bid_id), ('sell'::exchange.side, newest.ask_rank, newest.ask_id)
    ) as sides (side, price_rank, order_id)
),

last_trades as (
    select distinct on (updates.symbol_key)
        updates.symbol_key,
        event.price
    from exchange.updates
    cross join lateral unnest(updates.events) with ordinality as event
    where event.kind = 'trade'
    order by updates.symbol_key, updates.seq desc, event.ordinality desc
),

-- The last word on whether there is trading.
trading as (
    select distinct on (updates.symbol_key)
        updates.symbol_key,
        event.kind
    from exchange.updates
    cross join lateral unnest(updates.events) with ordinality as event
    where event.kind in ('halt', 'resume')
    order by updates.symbol_key, updates.seq desc, event.ordinality desc
)

select
    'updates_have_no_gap',
    format('symbol %s', coalesce(symbols.sym, 'with key ' || kept.symbol_key)),
    format('after update %s comes %s', kept.previous_seq, kept.seq)
from kept
left join exchange.symbols on kept.symbol_key = symbols.symbol_key
where kept.seq <> kept.previous_seq + 1
union all
select
    'time_of_updates_never_goes_back',
    format('symbol %s', coalesce(symbols.sym, 'with key ' || kept.symbol_key)),
    format('update %s is of %s, the one before of %s', kept.seq, kept.updated_at, kept.previous_at)
from kept
left join exchange.symbols on kept.symbol_key = symbols.symbol_key
where kept.updated_at < kept.previous_at
union all
select
    'newest_update_tells_best_order',
    format('symbol %s, %s', coalesce(symbols.sym, 'with key ' || symbol_key), side),
    format('the best order is %s, the update tells %s', coalesce(best.order_id, 0), coalesce(told.order_id, 0))
from best
full join told using (symbol_key, side)
left join exchange.symbols using (symbol_key)
where
    coalesce(best.price_rank, 'Infinity') <> coalesce(told.price_rank, 'Infinity')
    or coalesce(best.order_id, 0) <> coalesce(told.order_id, 0)
union all
select
    'newest_update_tells_last_price',
    format('symbol %s', coalesce(symbols.sym, 'with key ' || newest.symbol_key)),
    format('the last trade was at %s, the update tells %s', trim_scale(last_trades.price), coalesce(trim_scale(newest.last_price)::text, 'none'))
from newest
inner join last_trades on newest.symbol_key = last_trades.symbol_key
left join exchange.symbols on newest.symbol_key = symbols.symbol_key
where newest.last_price is distinct from last_trades.price
union all
select
    'updates_tell_of_halts',
    format('symbol %s', symbols.sym),
    format('trading is %s, the last word of updates is %s', case when symbols.halted_at is null then 'on' else 'halted' end, trading.kind)
from exchange.symbols
inner join trading on symbols.symbol_key = trading.symbol_key
where (trading.kind = 'halt') <> (symbols.halted_at is not null)
$$;

comment on function exchange.check_updates() is
'A row for each gap in the updates of a symbol, each one that is of an earlier time than the one before, and each symbol whose '
'last updates don''t tell its best orders, its last price or whether it is halted. Part of check_integrity.';

revoke all on function exchange.check_updates() from public;
grant execute on function exchange.check_updates() to exchange_reader;
