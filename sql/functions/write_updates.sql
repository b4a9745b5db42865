-- Writes what happened to books: an update for each symbol, or more of the one that this transaction has written before.
--
-- A match knows the best orders: p_symbol_keys, ascending, are its symbols, and p_bests has two for each, of the buys and of the sells.
-- For others, find_bests tells them.
--
-- The caller holds the symbols' locks, so nobody else writes updates of them, and commits are in the order of seq.
create or replace function exchange.write_updates(
    p_events exchange.run_event[],
    p_symbol_keys bigint[],
    p_bests exchange.run_best[],
    p_now timestamptz
)
returns void
language plpgsql
as $$
begin
    if p_bests is null then
        p_symbol_keys := array(
            select distinct event.symbol_key
            from unnest(p_events) as event
            order by event.symbol_key
        );
        p_bests := exchange.find_bests(p_events, p_symbol_keys);
    end if;

    insert into exchange.updates
    (symbol_key, seq, updated_at, bid_rank, bid_id, ask_rank, ask_id, last_price, last_at, events)
    select
        changed.symbol_key,
        -- By its time too: in a copy that was restored elsewhere, the ids are of transactions of another server.
        coalesce(newest.seq, 0)
        + ((newest.transaction_id = pg_current_xact_id() and newest.updated_at >= transaction_timestamp()) is not true)::integer,
        greatest(p_now, newest.updated_at),
        (p_bests[changed.place - 1]).price_rank,
        (p_bests[changed.place - 1]).order_id,
        (p_bests[changed.place]).price_rank,
        (p_bests[changed.place]).order_id,
        coalesce((p_events[changed.last_trade]).price, newest.last_price),
        case when changed.last_trade is null then newest.last_at else greatest(p_now, newest.updated_at) end,
        changed.events
    from (
        select
            told.symbol_key,
            2 * width_bucket(told.symbol_key, p_symbol_keys) as place,
            max(told.trade) as last_trade,
            array_agg(told.event) as events
        -- One sort for all symbols; an order by in the aggregate would be one more for each.
        from (
            select
                event.symbol_key,
                event.ordinality,
                case event.kind when 'trade' then event.ordinality end as trade,
                row(
                    event.kind,
                    case when (event.kind = 'add') = (event.side = 'buy') then 'buy' when event.side is not null then 'sell' end,
                    case when event.kind = 'add' or (event.kind = 'trade' and event.side = 'buy') then event.order_id else event.resting_id end,
                    case when event.kind = 'trade' then case event.side when 'buy' then event.resting_id else event.order_id end end,
                    coalesce(event.price, event.limit_price),
                    event.shares
                )::exchange.update_event as event
            from unnest(p_events) with ordinality as event
            where event.kind not in ('cancel', 'refuse')
            order by event.symbol_key, event.ordinality
        ) as told
        group by told.symbol_key
    ) as changed
    left join lateral (
        select
            updates.seq,
            updates.transaction_id,
            updates.updated_at,
            updates.last_price,
            updates.last_at
        from exchange.updates
        where updates.symbol_key = changed.symbol_key
        order by updates.seq desc
        limit 1
    ) as newest on true
    on conflict on constraint updates_pkey do update
    set
        updated_at = excluded.updated_at,
        bid_rank = excluded.bid_rank,
        bid_id = excluded.bid_id,
        ask_rank = excluded.ask_rank,
        ask_id = excluded.ask_id,
        last_price = excluded.last_price,
        last_at = excluded.last_at,
        events = updates.events || excluded.events;
end
$$;

comment on function exchange.write_updates(exchange.run_event[], bigint[], exchange.run_best[], timestamptz) is
'Adds to updates what happened to the book of each symbol, with the best orders that there are now. The caller holds the symbols'' '
'locks. p_symbol_keys and p_bests are what a match knows of them; null elsewhere.';

revoke all on function exchange.write_updates(exchange.run_event[], bigint[], exchange.run_best[], timestamptz) from public;
