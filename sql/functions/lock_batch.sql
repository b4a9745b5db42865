-- Takes every lock that a batch needs, in the one order that all transactions keep:
--
--   1. creation  one advisory lock (classid 5001), for batches that create anything
--   2. symbols   advisory locks (classid 5000), by slot, ascending
--   3. accounts  row locks in balances of those that act (survey), by account_key, ascending
--
-- Nothing that a batch does afterwards waits for another transaction, so no two can wait for each other.
--
-- No lock of this batch guards what another transaction commits after that: a symbol, an account or an order that did not
-- exist. The result says what is guarded; for the batch the rest does not exist. In a batch that creates, nobody else does.
create or replace function exchange.lock_batch(p_requests exchange.request[], p_waits boolean)
returns exchange.held_locks
language plpgsql
as $$
declare
    v_actions text[];
    v_slots integer[];
    v_acting text[];
    v_held exchange.held_locks;
begin
    perform exchange.require_read_committed();
    select
        coalesce(array_agg(distinct asked.action), '{}'),
        coalesce(bool_or(exchange.is_beyond(asked.action, asked.terms)), false)
    into v_actions, v_held.goes_beyond
    from unnest(p_requests) as asked;

    -- Lock 1 of 3: creation.
    v_held.creates := v_actions && array['create_account', 'create_symbol', 'grant_shares'];
    if v_held.creates then
        if p_waits then
            perform pg_advisory_xact_lock(5001, 0);
        else
            v_held.creates := pg_try_advisory_xact_lock(5001, 0);
        end if;
        v_held.own_symbols_after := coalesce((select max(symbols.symbol_key) from exchange.symbols), 0);
    end if;

    -- Lock 2 of 3: the symbols, ascending.
    if 'place_order' = any(v_actions) then
        v_slots := array(
            select exchange.symbol_slot(traded.symbol_key)
            from (select distinct asked.sym from unnest(p_requests) as asked where asked.action = 'place_order') as named
            cross join lateral (
                select symbols.symbol_key
                from exchange.symbols
                where symbols.sym = named.sym
                offset 0
            ) as traded
        );
    end if;
    if v_held.goes_beyond or 'cancel_order' = any(v_actions) then
        v_slots := v_slots || exchange.changed_slots(p_requests);
    end if;
    if v_slots is not null then
        v_held.symbol_slots := exchange.lock_symbols(v_slots, p_waits);
    end if;

    -- Lock 3 of 3: the accounts, ascending. Nothing after them waits. A batch that acts for none doesn't even try to lock rows, so a
    -- batch of queries works while the database takes no writes.
    if v_held.goes_beyond then
        v_acting := array(select (asked.request).account_id from exchange.survey(p_requests) as asked where asked.acts);
    elsif 'place_order' = any(v_actions) then
        v_acting := array(select asked.account_id from unnest(p_requests) as asked where asked.action = 'place_order');
    end if;
    if cardinality(v_acting) > 0 then
        select
            locked.balances,
            locked.others
        into v_held.balances, v_held.others
        from exchange.lock_accounts(v_acting, p_waits) as locked;
    end if;

    -- What has come to rest for an account until it was locked may be of other symbols. They can't be waited for any more.
    if v_actions && array['cancel_all', 'fire_switch'] then
        v_held.symbol_slots := v_held.symbol_slots || exchange.lock_symbols(
            array(
                select missing.slot
                from unnest(exchange.changed_slots(p_requests)) as missing (slot)
                where missing.slot <> all(v_held.symbol_slots)
            ),
            false
        );
    end if;

    return v_held;
end
$$;

comment on function exchange.lock_batch(exchange.request[], boolean) is
'Takes all locks of a batch in the one order: creation, symbols ascending by slot, accounts that act '
'ascending by key. Returns what is held then: everything, if it waits.';

revoke all on function exchange.lock_batch(exchange.request[], boolean) from public;
