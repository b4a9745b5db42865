-- Takes every lock that a batch needs, in the one order that all transactions keep:
--
--   1. creation  one advisory lock (classid 5001), for batches that create anything
--   2. symbols   advisory locks (classid 5000), by slot, ascending
--   3. accounts  row locks of those that place orders, by account_key, ascending
--
-- Nothing that a batch does afterwards waits for another transaction, so no two can wait for each other.
--
-- No lock of this batch guards what another transaction commits after that: an order to cancel whose symbol isn't
-- locked, an account that did not exist. The result says what is guarded; for the batch the rest does not exist.
create or replace function exchange.lock_batch(
    p_requests exchange.request[],
    out symbol_slots integer[],
    out last_account_key bigint
)
language plpgsql
as $$
declare
    v_actions constant text[] := array(select distinct asked.action from unnest(p_requests) as asked);
begin
    -- Only statements with their own snapshot see what the last holder of a lock has committed.
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'the exchange works in transactions that are read committed, not %', current_setting('transaction_isolation')
            using errcode = 'EX003', hint = 'begin transaction isolation level read committed';
    end if;

    -- Lock 1 of 3: creation.
    if v_actions && array['create_account', 'create_symbol', 'grant_shares'] then
        perform pg_advisory_xact_lock(5001, 0);
    end if;

    -- Lock 2 of 3: the symbols, ascending. An order's symbol never changes, so it can be read before it is locked.
    select coalesce(array_agg(locked.slot), '{}')
    into symbol_slots
    from (
        select
            slots.slot,
            pg_advisory_xact_lock(5000, slots.slot) as taken
        from (
            select exchange.symbol_slot(placed.sym) as slot
            from unnest(p_requests) as placed
            where placed.action = 'place_order' and placed.sym is not null
            union
            select owned.symbol_slot
            from unnest(p_requests) as canceled
            cross join lateral exchange.account_order(canceled.account_id, canceled.order_id) as owned
            where canceled.action = 'cancel_order'
            order by slot
        ) as slots
    ) as locked;

    -- Lock 3 of 3: the accounts, ascending. Nothing after them waits. A batch that places no orders doesn't even try to
    -- lock rows, so a batch of queries works while the database takes no writes.
    last_account_key := 0;
    if v_actions && array['place_order'] then
        select coalesce(max(locked.account_key), 0)
        into last_account_key
        from (
            select accounts.account_key
            from exchange.accounts
            where accounts.account_id in (
                select ordering.account_id
                from unnest(p_requests) as ordering
                where ordering.action = 'place_order'
            )
            order by accounts.account_key
            for no key update of accounts
        ) as locked;
    end if;

    -- Keys ascend in the order of commits. In a batch that creates, only its own accounts can be new.
    if v_actions && array['create_account', 'create_symbol', 'grant_shares'] then
        last_account_key := 9223372036854775807;
    end if;
end
$$;

comment on function exchange.lock_batch(exchange.request[]) is
'Takes all locks of a batch in the one order: creation, symbols ascending by slot, accounts that place orders '
'ascending by key. Returns the slots, and the highest account_key that the batch may act for.';

revoke all on function exchange.lock_batch(exchange.request[]) from public;
