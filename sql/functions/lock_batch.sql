-- Takes every lock that a batch needs, in the one order that all transactions keep:
--
--   1. creation  one advisory lock (classid 5001), for batches that create anything
--   2. symbols   advisory locks (classid 5000), by slot, ascending
--   3. accounts  row locks of those that place orders, by account_key, ascending
--
-- Nothing that a batch does afterwards waits for another transaction, so no two can wait for each other.
create or replace function exchange.lock_batch(
    p_actions text[],
    p_account_ids text[],
    p_syms text[],
    p_order_ids bigint[]
)
returns void
language plpgsql
as $$
begin
    -- Lock 1 of 3: creation.
    if p_actions && array['create_account', 'create_symbol', 'grant_shares'] then
        perform pg_advisory_xact_lock(5001, 0);
    end if;

    -- Lock 2 of 3: the symbols, ascending. An order's symbol never changes, so it can be read before it is locked.
    perform pg_advisory_xact_lock(5000, slots.slot)
    from (
        select exchange.symbol_slot(placed.sym) as slot
        from unnest(p_actions, p_syms) as placed (action, sym)
        where placed.action = 'place_order' and placed.sym is not null
        union
        select exchange.symbol_slot(symbols.sym)
        from unnest(p_actions, p_order_ids) as canceled (action, order_id)
        inner join exchange.orders on canceled.order_id = orders.order_id
        inner join exchange.symbols on orders.symbol_key = symbols.symbol_key
        where canceled.action = 'cancel_order'
        order by slot
    ) as slots;

    -- Lock 3 of 3: the accounts, ascending. Nothing after them waits.
    perform accounts.account_key
    from exchange.accounts
    where accounts.account_id in (
        select ordering.account_id
        from unnest(p_actions, p_account_ids) as ordering (action, account_id)
        where ordering.action = 'place_order'
    )
    order by accounts.account_key
    for no key update of accounts;
end
$$;

comment on function exchange.lock_batch(text[], text[], text[], bigint[]) is
'Takes all locks of a batch in the one order: creation, symbols ascending by slot, accounts that place orders '
'ascending by key.';

revoke all on function exchange.lock_batch(text[], text[], text[], bigint[]) from public;
