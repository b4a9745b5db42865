-- Deletes updates that are old, a few at a time: a regular task of every gateway.
--
-- The oldest of a symbol go first, so what is left of it has no gap. The newest stays, for it says where the book begins and which
-- number comes next. Nobody changes rows that have been committed, so this meets no match, and locks no symbol. One at a time
-- forgets: another one has nothing to do meanwhile, so it doesn't wait. In no order, so that one symbol doesn't come first each time.
create or replace function exchange.forget_updates(p_older_than interval, p_most integer)
returns bigint
language plpgsql
security definer
set search_path = exchange, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
declare
    c_before constant timestamptz := clock_timestamp() - p_older_than;
    v_symbol_key bigint;
    v_newest bigint;
    v_first bigint;
    v_last bigint; -- that is old
    v_deleted bigint;
    v_forgotten bigint := 0::bigint;
begin
    if not pg_try_advisory_xact_lock(5003, 0) then
        return 0::bigint;
    end if;

    for v_symbol_key, v_newest in
        select
            traded.symbol_key,
            newest.seq
        from (
            select symbols.symbol_key
            from exchange.symbols
            order by random()
        ) as traded
        cross join lateral exchange.newest_update(traded.symbol_key) as newest
        where
            exists (
                select
                from exchange.updates
                where updates.symbol_key = traded.symbol_key and updates.seq = newest.seq - 1
                offset 0
            )
    loop
        exit when v_forgotten >= p_most;
        v_last := exchange.seq_at(v_symbol_key, c_before);
        continue when v_last is null;

        v_first := exchange.oldest_update(v_symbol_key);
        delete from exchange.updates
        where
            updates.symbol_key = v_symbol_key
            and updates.seq >= v_first
            and updates.seq <= least(v_last, v_newest - 1, v_first + p_most - v_forgotten - 1);
        get diagnostics v_deleted = row_count;
        v_forgotten := v_forgotten + v_deleted;
    end loop;
    return v_forgotten;
end
$$;

comment on function exchange.forget_updates(interval, integer) is
'Deletes updates that are older than p_older_than, p_most of them, and returns how many: the oldest of a symbol first, and never the '
'newest. For a regular task, which calls it again as long as it deletes p_most. Where another session is at it, it does nothing.';

revoke all on function exchange.forget_updates(interval, integer) from public;
grant execute on function exchange.forget_updates(interval, integer) to exchange_gateway;
