-- Takes the locks of symbols: advisory locks (classid 5000), by slot, ascending, which is the order of all transactions.
create or replace function exchange.lock_symbols(p_slots integer[], p_waits boolean default true)
returns integer[]
language plpgsql
as $$
begin
    -- Lock 2 of 3: the symbols, ascending.
    if p_waits then
        return array(
            select slots.slot
            from (
                select
                    due.slot,
                    pg_advisory_xact_lock(5000, due.slot) as taken
                from (
                    select distinct asked.slot
                    from unnest(p_slots) as asked (slot)
                    where asked.slot is not null
                    order by asked.slot
                ) as due
            ) as slots
        );
    end if;

    return array(
        select due.slot
        from (
            select distinct asked.slot
            from unnest(p_slots) as asked (slot)
            where asked.slot is not null
            order by asked.slot
        ) as due
        where pg_try_advisory_xact_lock(5000, due.slot)
    );
end
$$;

comment on function exchange.lock_symbols(integer[], boolean) is
'Takes the locks of these slots (symbol_slot), ascending, and returns the slots that are locked then: all, if it waits for them, '
'or those that nobody else has.';

revoke all on function exchange.lock_symbols(integer[], boolean) from public;
