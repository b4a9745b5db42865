-- Folds the credits of accounts into their rows, so that credits stays small. Gateways call it all the time: an account's own
-- orders fold only where they can't be paid for without.
--
-- A locked account is skipped, so this never waits. Accounts are walked by key, for there may be many credits of each.
create or replace function exchange.settle_idle_accounts(p_limit integer default 1000)
returns integer
language plpgsql
security definer
set search_path = exchange, pg_temp
as $$
declare
    v_account_keys bigint[];
begin
    -- Lock 3 of 3: the accounts, ascending.
    with recursive owed (account_key) as (
        select min(credits.account_key)
        from exchange.credits
        union all
        select (select min(credits.account_key) from exchange.credits where credits.account_key > owed.account_key)
        from owed
        where owed.account_key is not null
    )

    select coalesce(array_agg(idle.account_key), '{}')
    into v_account_keys
    from (
        select owed.account_key
        from owed
        cross join lateral (
            select balances.ctid
            from exchange.balances
            where balances.account_key = owed.account_key
            order by balances.generation desc
            limit 1
            for no key update skip locked
        ) as locked
        limit p_limit
    ) as idle;

    perform exchange.settle_accounts(v_account_keys);
    return cardinality(v_account_keys);
end
$$;

comment on function exchange.settle_idle_accounts(integer) is
'Folds the credits of up to p_limit accounts that nobody has locked; returns how many accounts. For a regular sweep: the fewer at '
'a time, the shorter are they locked.';

revoke all on function exchange.settle_idle_accounts(integer) from public;
grant execute on function exchange.settle_idle_accounts(integer) to exchange_gateway;
