-- Folds what accounts are owed into their rows. The caller holds the locks of the accounts, so that nobody else changes or
-- collects the same balances. Credits that commit meanwhile are not seen and wait until next time.
--
-- Credits of transactions before p_since are not looked for: only dead index entries can be left of them. Without it that is
-- what each account knows by itself (settled_before), unless this is a copy, restored into a server with lower transaction ids.
--
-- PL/pgSQL, although it is one statement: before PostgreSQL 18 a function in SQL is planned at each call.
create or replace function exchange.settle_accounts(p_account_keys bigint[], p_since xid8 default '0')
returns void
language plpgsql
as $$
begin
    with due as (
        select
            asked.account_key,
            coalesce(p_since, exchange.settled_since(newest.settled_before)) as since
        from unnest(p_account_keys) as asked (account_key)
        cross join lateral (
            select balances.settled_before
            from exchange.balances
            where balances.account_key = asked.account_key
            order by balances.generation desc
            limit 1
        ) as newest
    ),

    collected as (
        delete from exchange.credits
        using due
        -- Lateral, so that each account's credits are looked up by key even while the planner thinks there are none.
        cross join lateral (
            select waiting.ctid as row_address
            from exchange.credits as waiting
            where waiting.account_key = due.account_key and waiting.transaction_id >= due.since
            offset 0
        ) as found
        where credits.ctid = found.row_address
        returning credits.account_key, credits.symbol_key, credits.shares, credits.cash
    ),

    owed as (
        select
            collected.account_key,
            collected.symbol_key,
            sum(collected.shares) as shares,
            sum(collected.cash) as cash
        from collected
        group by collected.account_key, collected.symbol_key
    ),

    bought as (
        select
            owed.account_key,
            owed.symbol_key,
            owed.shares,
            held.row_address
        from owed
        left join lateral (
            select positions.ctid as row_address
            from exchange.positions
            where positions.account_key = owed.account_key and positions.symbol_key = owed.symbol_key
            order by positions.generation desc
            limit 1
        ) as held on true
        where owed.shares > 0
    ),

    added as (
        update exchange.positions
        set
            shares = positions.shares + bought.shares,
            changes = positions.changes + 1,
            generation = exchange.generation(positions.changes + 1)
        from bought
        where positions.ctid = bought.row_address
    ),

    begun as (
        insert into exchange.positions (account_key, symbol_key, shares)
        select
            bought.account_key,
            bought.symbol_key,
            bought.shares
        from bought
        where bought.row_address is null
    )

    update exchange.balances
    set
        cash = balances.cash + paid.cash,
        settled_before = pg_snapshot_xmin(pg_current_snapshot()),
        changes = balances.changes + 1,
        generation = exchange.generation(balances.changes + 1)
    from (
        select
            owed.account_key,
            sum(owed.cash) as cash
        from owed
        group by owed.account_key
    ) as paid
    cross join lateral (
        select newest.ctid as row_address
        from exchange.balances as newest
        where newest.account_key = paid.account_key
        order by newest.generation desc
        limit 1
    ) as held
    where balances.ctid = held.row_address;
end
$$;

comment on function exchange.settle_accounts(bigint[], xid8) is
'Folds the credits of these accounts into their cash and positions: of transactions from p_since on, or (null) of those that can '
'be new since the last time. The caller holds the accounts'' locks, and knows that no earlier credits are left: use settle_account.';

revoke all on function exchange.settle_accounts(bigint[], xid8) from public;
