-- Takes every lock that a batch needs, in the one order that all transactions keep:
--
--   1. creation  one advisory lock (classid 5001), for batches that create anything
--   2. symbols   advisory locks (classid 5000), by slot, ascending
--   3. accounts  row locks in balances of those that place orders, by account_key, ascending
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
    v_actions constant text[] := array(select distinct asked.action from unnest(p_requests) as asked);
    v_held exchange.held_locks;
begin
    perform exchange.require_read_committed();

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

    -- Lock 2 of 3: the symbols, ascending. An order's symbol never changes, so it can be read before it is locked.
    if v_actions && array['place_order', 'cancel_order'] then
        v_held.symbol_slots := exchange.lock_symbols(
            array(
                select exchange.symbol_slot(traded.symbol_key)
                from (select distinct asked.sym from unnest(p_requests) as asked where asked.action = 'place_order') as named
                cross join lateral (
                    select symbols.symbol_key
                    from exchange.symbols
                    where symbols.sym = named.sym
                    offset 0
                ) as traded
                union all
                select owned.symbol_slot
                from unnest(p_requests) as asked
                cross join lateral exchange.account_order(asked.account_id, asked.order_id) as owned
                where asked.action = 'cancel_order'
            ),
            p_waits
        );
    end if;

    -- Lock 3 of 3: the accounts, ascending. Nothing after them waits. A batch that places no orders doesn't even try to
    -- lock rows, so a batch of queries works while the database takes no writes.
    if 'place_order' = any(v_actions) then
        select
            locked.balances,
            locked.others
        into v_held.balances, v_held.others
        from exchange.lock_accounts(
            array(select asked.account_id from unnest(p_requests) as asked where asked.action = 'place_order'), p_waits
        ) as locked;
    end if;

    return v_held;
end
$$;

comment on function exchange.lock_batch(exchange.request[], boolean) is
'Takes all locks of a batch in the one order: creation, symbols ascending by slot, accounts that place orders '
'ascending by key. Returns what is held then: everything, if it waits.';

revoke all on function exchange.lock_batch(exchange.request[], boolean) from public;
