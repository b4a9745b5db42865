-- Writes what happened to books: an update for each symbol, or more of the one that this transaction has written before.
--
-- p_symbol_keys, ascending, are the symbols whose best orders a match knows: p_bests has two for each, of the buys and of the sells,
-- and null where it can't tell. A side that nothing happened to keeps its best order. Of the others the table tells it.
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
    insert into exchange.updates
    (symbol_key, seq, updated_at, bid_rank, bid_id, ask_rank, ask_id, last_price, last_at, events)
    select
        changed.symbol_key,
        coalesce(newest.seq, 0) + (own.is_newest is not true)::integer,
        best.updated_at,
        (best.bid).price_rank,
        (best.bid).order_id,
        (best.ask).price_rank,
        (best.ask).order_id,
        coalesce((p_events[changed.last_trade]).price, newest.last_price),
        case when changed.last_trade is null then newest.last_at else best.updated_at end,
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
            updates.bid_rank,
            updates.bid_id,
            updates.ask_rank,
            updates.ask_id,
            updates.last_price,
            updates.last_at
        from exchange.updates
        where updates.symbol_key = changed.symbol_key
        order by updates.seq desc
        limit 1
    ) as newest on true
    -- By its time too: in a copy that was restored elsewhere, the ids are of transactions of another server.
    cross join lateral (
        select newest.transaction_id = pg_current_xact_id() and newest.updated_at >= transaction_timestamp() as is_newest
    ) as own
    cross join lateral (
        select
            greatest(p_now, newest.updated_at) as updated_at,
            case
                when p_bests[changed.place - 1] is distinct from null then p_bests[changed.place - 1]
                when exists (select from unnest(changed.events) as event where event.side = 'buy')
                    then exchange.find_best(changed.symbol_key, 'buy', newest.bid_rank, newest.bid_id)
                else row(coalesce(newest.bid_rank, 'Infinity'), coalesce(newest.bid_id, 0))::exchange.run_best
            end as bid,
            case
                when p_bests[changed.place] is distinct from null then p_bests[changed.place]
                when exists (select from unnest(changed.events) as event where event.side = 'sell')
                    then exchange.find_best(changed.symbol_key, 'sell', newest.ask_rank, newest.ask_id)
                else row(coalesce(newest.ask_rank, 'Infinity'), coalesce(newest.ask_id, 0))::exchange.run_best
            end as ask
        offset 0
    ) as best
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
'locks. p_symbol_keys and p_bests are what a match knows of them: null elsewhere.';

revoke all on function exchange.write_updates(exchange.run_event[], bigint[], exchange.run_best[], timestamptz) from public;
