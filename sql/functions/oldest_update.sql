-- Returns the oldest update of a symbol that is kept.
--
-- Updates are forgotten from the oldest on, so from some number on all are there. Reading from the lowest on would step over the
-- index entries of all that were forgotten, which a long snapshot elsewhere keeps from being removed. So it looks by key whether
-- one in the middle is there, then one in the middle of what is left: some thirty look-ups.
create or replace function exchange.oldest_update(p_symbol_key bigint)
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
    v_low bigint := 0::bigint; -- not there
    v_high bigint; -- there
    v_middle bigint := 1::bigint; -- for most often, nothing has been forgotten
begin
    select newest.seq
    into v_high
    from exchange.newest_update(p_symbol_key) as newest;

    while v_low + 1 < v_high loop
        if exists (
            select
            from exchange.updates
            where updates.symbol_key = p_symbol_key and updates.seq = v_middle
        ) then
            v_high := v_middle;
        else
            v_low := v_middle;
        end if;
        v_middle := (v_low + v_high) / 2;
    end loop;
    return v_high;
end
$$;

comment on function exchange.oldest_update(bigint) is
'The number of the oldest update of a symbol that is kept; null where there is none.';

revoke all on function exchange.oldest_update(bigint) from public;
grant execute on function exchange.oldest_update(bigint) to exchange_reader;
