-- Folds what accounts are owed into their rows: all of it, whatever settled_before says, which is corrected by this.
-- (It is wrong in a copy that was restored into a server with lower transaction ids.)
create or replace function exchange.settle_accounts(p_account_keys bigint[])
returns void
language sql
as $$
update exchange.balances
set
    cash = balances.cash + coalesce(collected.cash, 0),
    settled_before = pg_snapshot_xmin(pg_current_snapshot()),
    changes = balances.changes + 1,
    generation = exchange.generation(balances.changes + 1)
from unnest(p_account_keys) as due (account_key)
cross join lateral (
    select newest.ctid as row_address
    from exchange.balances as newest
    where newest.account_key = due.account_key
    order by newest.generation desc
    limit 1
) as found
left join (
    select
        owed.account_key,
        sum(owed.cash) as cash
    from exchange.collect_credits(
        p_account_keys, array_fill('0'::xid8, array[cardinality(p_account_keys)]), '{}'
    ) as owed
    group by owed.account_key
) as collected on due.account_key = collected.account_key
where balances.ctid = found.row_address
$$;

comment on function exchange.settle_accounts(bigint[]) is
'Folds the credits of these accounts into their cash and positions. The caller holds the accounts'' row locks: use '
'settle_account.';

revoke all on function exchange.settle_accounts(bigint[]) from public;
