-- Returns what has happened to the books of some symbols since the updates that the caller knows. A gateway asks all the time, for
-- all symbols that anybody listens to: where nothing has happened it is one look into the index for each.
--
-- Updates are committed in the order of seq, so there is none to come before one that is seen. The planner settings are those of
-- process_batch.
create or replace function exchange.read_updates(p_symbol_keys bigint[], p_after bigint[], p_most integer)
returns table (
    symbol_key bigint,
    seq bigint,
    updated_at timestamptz,
    kind exchange.event_kind,
    side exchange.side,
    order_id bigint,
    sell_order_id bigint,
    price numeric,
    shares numeric
)
language plpgsql
stable
security definer
set search_path = exchange, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
#variable_conflict use_column
begin
    return query
    select
        asked.symbol_key,
        news.seq,
        news.updated_at,
        event.kind,
        event.side,
        event.order_id,
        event.sell_order_id,
        trim_scale(event.price),
        trim_scale(event.shares)
    from unnest(p_symbol_keys, p_after) as asked (symbol_key, after_seq)
    cross join lateral (
        select
            updates.seq,
            updates.updated_at,
            updates.events
        from exchange.updates
        where updates.symbol_key = asked.symbol_key and updates.seq > asked.after_seq
        order by updates.seq
        limit p_most
    ) as news
    cross join lateral unnest(news.events) with ordinality as event
    order by asked.symbol_key, news.seq, event.ordinality;
end
$$;

comment on function exchange.read_updates(bigint[], bigint[], integer) is
'What has happened to the books of these symbols, each after its update with the number in p_after: a row for each event, by symbol, '
'seq, and the order in which it happened (see updates); of at most p_most updates of each symbol. Where the first one isn''t '
'the next number, those between have been forgotten.';

revoke all on function exchange.read_updates(bigint[], bigint[], integer) from public;
grant execute on function exchange.read_updates(bigint[], bigint[], integer) to exchange_gateway, exchange_reader;
