-- Takes the locks of accounts: the rows that hold their cash, by account_key, ascending, which is the order of all
-- transactions. Nothing after them waits.
--
-- A row's newest version is locked and returned, also if that was made while we waited. An account without a balance has no
-- row to lock, and counts as unknown.
create or replace function exchange.lock_accounts(
    p_account_ids text[],
    p_waits boolean,
    out balances exchange.run_balance[],
    out others bigint[]
)
language plpgsql
as $$
begin
    -- Lock 3 of 3: the accounts, ascending.
    if p_waits then
        select array_agg((due.account_key, locked.row_address, locked.cash)::exchange.run_balance)
        into balances
        from (
            select accounts.account_key
            from (select distinct asked.account_id from unnest(p_account_ids) as asked (account_id)) as named
            cross join lateral (
                select accounts.account_key
                from exchange.accounts
                where accounts.account_id = named.account_id
                offset 0
            ) as accounts
            order by accounts.account_key
        ) as due
        cross join lateral (
            select
                balances.ctid as row_address,
                balances.cash
            from exchange.balances
            where balances.account_key = due.account_key
            order by balances.generation desc
            limit 1
            for no key update
        ) as locked;
        return;
    end if;

    select
        array_agg((due.account_key, locked.row_address, locked.cash)::exchange.run_balance)
        filter (where locked.row_address is not null),
        array_agg(due.account_key) filter (where locked.row_address is null)
    into balances, others
    from (
        select accounts.account_key
        from (select distinct asked.account_id from unnest(p_account_ids) as asked (account_id)) as named
        cross join lateral (
            select accounts.account_key
            from exchange.accounts
            where accounts.account_id = named.account_id
            offset 0
        ) as accounts
        order by accounts.account_key
    ) as due
    left join lateral (
        select
            balances.ctid as row_address,
            balances.cash
        from exchange.balances
        where balances.account_key = due.account_key
        order by balances.generation desc
        limit 1
        for no key update skip locked
    ) as locked on true;
end
$$;

comment on function exchange.lock_accounts(text[], boolean) is
'Takes the locks of accounts, ascending by key, and returns their balances. If it does not wait, others are the accounts that '
'somebody else has locked, or that have no balance.';

revoke all on function exchange.lock_accounts(text[], boolean) from public;
