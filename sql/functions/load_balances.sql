-- Reads the balances of accounts that are locked, in the order given.
create or replace function exchange.load_balances(p_account_keys bigint[])
returns exchange.run_balance[]
language plpgsql
stable
as $$
begin
    return array(
        select (asked.account_key, newest.row_address, newest.cash)::exchange.run_balance
        from unnest(p_account_keys) with ordinality as asked (account_key, place)
        cross join lateral (
            select
                balances.ctid as row_address,
                balances.cash
            from exchange.balances
            where balances.account_key = asked.account_key
            order by balances.generation desc
            limit 1
        ) as newest
        order by asked.place
    );
end
$$;

comment on function exchange.load_balances(bigint[]) is
'The balances of accounts as they stand. The caller holds their locks: see lock_accounts.';

revoke all on function exchange.load_balances(bigint[]) from public;
