-- Takes what accounts are owed out of credits, for the caller to add to the cash and shares that it has read.
--
-- Credits of transactions before p_settled_before were collected earlier, and only dead index entries can be left of
-- them. Shares of a position that the caller hasn't read go straight to positions. The caller holds the locks of the
-- accounts, so that nobody else changes or collects the same balances. Credits that commit meanwhile are not seen and
-- wait until next time.
--
-- PL/pgSQL, although it is one statement: before PostgreSQL 18 a function in SQL is planned at each call.
create or replace function exchange.collect_credits(
    p_account_keys bigint[],
    p_settled_before xid8[],
    p_position_keys bigint[]
)
returns table (
    account_key bigint,
    position_key bigint,
    cash numeric,
    shares numeric
)
language plpgsql
as $$
#variable_conflict use_column
begin
    return query
    with collected as (
        delete from exchange.credits
        using
            unnest(p_account_keys, p_settled_before) as due (account_key, settled_before)
        -- Lateral, so that each account's credits are looked up by key even while the planner thinks there are none.
        cross join lateral (
            select waiting.ctid as row_address
            from exchange.credits as waiting
            where waiting.account_key = due.account_key and waiting.transaction_id >= due.settled_before
            offset 0
        ) as found
        where credits.ctid = found.row_address
        returning credits.account_key, credits.symbol_key, credits.shares, credits.cash
    ),

    owed as (
        select
            collected.account_key,
            collected.symbol_key,
            exchange.position_key(collected.account_key, collected.symbol_key) as position_key,
            sum(collected.cash) as cash,
            sum(collected.shares) as shares
        from collected
        group by collected.account_key, collected.symbol_key
    ),

    elsewhere as (
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
        where
            owed.shares > 0
            and owed.position_key is distinct from p_position_keys[width_bucket(owed.position_key, p_position_keys)]
    ),

    added as (
        update exchange.positions
        set
            shares = positions.shares + elsewhere.shares,
            changes = positions.changes + 1,
            generation = exchange.generation(positions.changes + 1)
        from elsewhere
        where positions.ctid = elsewhere.row_address
    ),

    begun as (
        insert into exchange.positions (account_key, symbol_key, shares)
        select
            elsewhere.account_key,
            elsewhere.symbol_key,
            elsewhere.shares
        from elsewhere
        where elsewhere.row_address is null
    )

    select
        owed.account_key,
        named.position_key,
        owed.cash,
        owed.shares
    from owed
    left join lateral (
        select owed.position_key
        where owed.shares > 0 and owed.position_key = p_position_keys[width_bucket(owed.position_key, p_position_keys)]
    ) as named on true;
end
$$;

comment on function exchange.collect_credits(bigint[], xid8[], bigint[]) is
'Deletes the credits of these accounts and returns them, summed by account and symbol. position_key is null where '
'no shares are left to add: there were none, or the position isn''t among those named (ascending), and they have been added '
'to positions. The caller holds the locks of the accounts.';

revoke all on function exchange.collect_credits(bigint[], xid8[], bigint[]) from public;
