-- Folds what accounts are owed into their rows: credits are deleted, and added to cash and positions.
--
-- Called with the accounts' rows locked, so that nobody else changes or folds the same balances. Credits that commit
-- meanwhile are not seen and wait for the next time.
create or replace function exchange.settle_accounts(p_account_keys integer[])
returns bigint
language sql
as $$
with folded as (
    delete from exchange.credits
    where credits.account_key = any(p_account_keys)
    returning credits.account_key, credits.symbol_key, credits.amount
),

owed as (
    select
        folded.account_key,
        folded.symbol_key,
        sum(folded.amount) as amount
    from folded
    group by folded.account_key, folded.symbol_key
),

cash as (
    update exchange.accounts
    set cash = accounts.cash + owed.amount
    from owed
    where owed.symbol_key is null and accounts.account_key = owed.account_key
),

shares as (
    insert into exchange.positions as held (account_key, symbol_key, shares)
    select
        owed.account_key,
        owed.symbol_key,
        owed.amount
    from owed
    where owed.symbol_key is not null
    on conflict (account_key, symbol_key) do update set shares = held.shares + excluded.shares
)

select count(*) from folded
$$;

comment on function exchange.settle_accounts(integer[]) is
'Folds the credits of these accounts into their cash and positions; returns how many credits that were. The caller '
'holds the accounts'' row locks: use settle_account.';

revoke all on function exchange.settle_accounts(integer[]) from public;
