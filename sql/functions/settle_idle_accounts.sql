-- Folds the credits of idle accounts into their rows, so that credits stays small. Gateways call it every few seconds.
--
-- A locked account is busy and folds its credits itself. It is skipped, so this never waits.
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
    select coalesce(array_agg(idle.account_key), '{}')
    into v_account_keys
    from (
        select accounts.account_key
        from exchange.accounts
        where accounts.account_key in (select credits.account_key from exchange.credits)
        order by accounts.account_key
        limit p_limit
        for no key update skip locked
    ) as idle;

    perform exchange.settle_accounts(v_account_keys);
    return cardinality(v_account_keys);
end
$$;

comment on function exchange.settle_idle_accounts(integer) is
'Folds the credits of up to p_limit accounts that nobody has locked; returns how many accounts. For a regular sweep.';

revoke all on function exchange.settle_idle_accounts(integer) from public;
grant execute on function exchange.settle_idle_accounts(integer) to exchange_gateway;
