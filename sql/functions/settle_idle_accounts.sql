-- Folds the credits of accounts into their rows, so that credits stays small. Gateways call it all the time: an account's own
-- orders fold only where they can't be paid for without.
--
-- A locked account is skipped, so this never waits. While a long snapshot elsewhere keeps dead rows of credits, and dead entries
-- of its index, there may be millions: no account is locked while they are stepped over. The planner settings are those of
-- process_batch: a plan is kept that was made while credits was empty.
create or replace function exchange.settle_idle_accounts(p_limit integer default 1000)
returns integer
language plpgsql
security definer
set search_path = exchange, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
declare
    v_owed bigint[];
    v_since xid8; -- null: since each account's last time
    v_account_keys bigint[];
begin
    if exchange.credits_are_many() then
        -- Dead rows, most of them. Every account is asked whether it is owed anything new.
        v_owed := array(
            select balances.account_key
            from exchange.balances
            where exists (
                select
                from exchange.credits
                where
                    credits.account_key = balances.account_key
                    and credits.transaction_id >= exchange.settled_since(balances.settled_before)
                offset 0
            )
            order by balances.account_key
        );
    else
        select
            found.account_keys,
            found.since
        into v_owed, v_since
        from exchange.find_owed() as found;
    end if;

    -- Lock 3 of 3: the accounts, ascending.
    v_account_keys := array(
        select owed.account_key
        from unnest(v_owed) as owed (account_key)
        cross join lateral (
            select balances.ctid
            from exchange.balances
            where balances.account_key = owed.account_key
            order by balances.generation desc
            limit 1
            for no key update skip locked
        ) as locked
        limit p_limit
    );

    perform exchange.settle_accounts(v_account_keys, v_since);
    return cardinality(v_account_keys);
end
$$;

comment on function exchange.settle_idle_accounts(integer) is
'Folds the credits of up to p_limit accounts that nobody has locked; returns how many accounts. For a regular sweep: the fewer at '
'a time, the shorter are they locked.';

revoke all on function exchange.settle_idle_accounts(integer) from public;
grant execute on function exchange.settle_idle_accounts(integer) to exchange_gateway;
