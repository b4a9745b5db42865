-- Folds what accounts are owed into their rows.
create or replace function exchange.settle_accounts(p_account_keys integer[])
returns void
language sql
as $$
update exchange.accounts
set cash = accounts.cash + collected.amount
from exchange.collect_credits(p_account_keys, array_fill('0'::xid8, array[cardinality(p_account_keys)]), '{}') as collected
where accounts.account_key = collected.account_key
$$;

comment on function exchange.settle_accounts(integer[]) is
'Folds the credits of these accounts into their cash and positions. The caller holds the accounts'' row locks: use '
'settle_account.';

revoke all on function exchange.settle_accounts(integer[]) from public;
