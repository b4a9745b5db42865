-- Cash moves out of accounts into a table of its own; it and positions get a key that a long snapshot can't clog.
--
-- While any session holds a snapshot, no version of a row that was replaced since can be removed, and a key that never
-- changes leads to all of them: each look-up tries one after the other. So the key has a part that is counted up with
-- every 16th change and is read newest first, which leaves 16 versions to try at most. Between two counts the update
-- touches no index. accounts keeps what hardly ever changes: a look-up by account_id finds one version.
--
-- Stop the gateways first: until the functions are applied as well, those of before find no cash and refuse every order.

set local role exchange_owner;

-- What is moved must not change meanwhile. In the order in which batches lock; whoever waits longer should migrate again.
set local lock_timeout = '10s';
lock table exchange.accounts, exchange.positions in access exclusive mode;

create table exchange.balances (
    account_key integer not null,
    generation bigint not null default 0,
    changes bigint not null default 0,
    cash numeric not null,
    settled_before xid8 not null default '0',
    constraint balances_pkey primary key (account_key, generation),
    constraint balances_cash_never_negative check (cash >= 0 and cash < 'Infinity')
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.1);

comment on table exchange.balances is
'Settled cash of each account, one row for each. Updated only by transactions of the account''s own, under the lock of its '
'row in accounts; what others owe it waits in credits. Read account_balances to see what an account has.';
comment on column exchange.balances.account_key is 'Whose cash it is.';
comment on column exchange.balances.generation is
'Counts up with every 16th change, and is read newest first: so that a look-up tries few dead versions of the row, even '
'while a long snapshot elsewhere keeps all of them.';
comment on column exchange.balances.changes is 'How often the row was changed; generation follows from it.';
comment on column exchange.balances.cash is 'Settled cash that is free to spend: reserved cash has already left it.';
comment on column exchange.balances.settled_before is
'Credits of transactions before this one are in the row already. Only spares a look at them: the sweep folds whatever '
'there is, also where a restored copy has transaction ids that make no sense here.';

insert into exchange.balances (account_key, cash, settled_before)
select
    accounts.account_key,
    accounts.cash,
    accounts.settled_before
from exchange.accounts
order by accounts.account_key;

create or replace view exchange.account_balances as
select
    accounts.account_id,
    balances.cash + coalesce(owed.amount, 0) as cash,
    balances.cash as settled_cash,
    coalesce(owed.amount, 0) as unsettled_cash
from exchange.accounts
inner join exchange.balances on accounts.account_key = balances.account_key
left join (
    select
        credits.account_key,
        sum(credits.amount) as amount
    from exchange.credits
    where credits.symbol_key is null
    group by credits.account_key
) as owed on accounts.account_key = owed.account_key;

comment on column exchange.account_balances.settled_cash is 'What is in balances.';

-- Clients call functions, which are replaced next; nobody else writes here.
-- squawk-ignore ban-drop-column
alter table exchange.accounts drop column cash, drop column settled_before;
alter table exchange.accounts reset (fillfactor, autovacuum_vacuum_scale_factor);

comment on table exchange.accounts is
'One row for each account. Its row lock guards what the account has: whoever changes its row in balances or its positions '
'holds it.';

alter table exchange.positions
add column generation bigint not null default 0,
add column changes bigint not null default 0,
-- squawk-ignore ban-drop-constraint
drop constraint positions_pkey,
-- squawk-ignore constraint-missing-not-valid, adding-serial-primary-key-field
add constraint positions_pkey primary key (account_key, symbol_key, generation);

comment on table exchange.positions is
'Settled shares of each account in each symbol, one row for each. Updated only under the row lock of the account. Read '
'account_positions to see what an account has.';
comment on column exchange.positions.generation is 'Counts up with every 16th change, and is read newest first: as in balances.';
comment on column exchange.positions.changes is 'How often the row was changed; generation follows from it.';

reset role;
