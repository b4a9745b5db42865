-- Returns the last update of a symbol that had happened at a moment.
--
-- There is no index by time, for each order would have to pay for it. But time never goes back from one update to the next, so it is
-- found as a word in a dictionary is: in some thirty steps, each a look-up by key. What is forgotten is as what is too early.
create or replace function exchange.seq_at(p_symbol_key bigint, p_at timestamptz)
returns bigint
language plpgsql
stable
security definer
set search_path = exchange, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
    v_low bigint := 0::bigint; -- forgotten, or not later than p_at
    v_high bigint; -- later than p_at, or one more than the newest
    v_middle bigint;
    v_updated_at timestamptz;
    v_found bigint; -- the last one that is known to be kept and not later
begin
    select newest.seq + 1
    into v_high
    from exchange.newest_update(p_symbol_key) as newest;

    while v_low + 1 < v_high loop
        v_middle := (v_low + v_high) / 2;
        select updates.updated_at
        into v_updated_at
        from exchange.updates
        where updates.symbol_key = p_symbol_key and updates.seq = v_middle;

        if v_updated_at > p_at then
            v_high := v_middle;
        else
            if v_updated_at is not null then
                v_found := v_middle;
            end if;
            v_low := v_middle;
        end if;
    end loop;
    return v_found;
end
$$;

comment on function exchange.seq_at(bigint, timestamptz) is
'The number of the last update of a symbol that had happened at this moment; null where none that is kept had.';

revoke all on function exchange.seq_at(bigint, timestamptz) from public;
grant execute on function exchange.seq_at(bigint, timestamptz) to exchange_gateway, exchange_reader;
