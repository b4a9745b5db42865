-- What to read: balances and positions as they are (settled and owed), and the book with prices and symbols.

set local role exchange_owner;

create view exchange.account_balances as
select
    accounts.account_id,
    balances.cash + coalesce(owed.cash, 0) as cash,
    balances.cash as settled_cash,
    coalesce(owed.cash, 0) as unsettled_cash
from exchange.accounts
inner join exchange.balances on accounts.account_key = balances.account_key
left join (
    select
        credits.account_key,
        sum(credits.cash) as cash
    from exchange.credits
    group by credits.account_key
) as owed on accounts.account_key = owed.account_key;

comment on view exchange.account_balances is 'The cash that each account can spend.';
comment on column exchange.account_balances.account_id is 'The client''s own identifier.';
comment on column exchange.account_balances.cash is 'Free cash: settled and unsettled. Cash reserved by open buys is not in it.';
comment on column exchange.account_balances.settled_cash is 'What is in balances.';
comment on column exchange.account_balances.unsettled_cash is 'What waits in credits.';

create view exchange.account_positions as
select
    accounts.account_id,
    symbols.sym,
    sum(held.settled + held.unsettled) as shares,
    sum(held.settled) as settled_shares,
    sum(held.unsettled) as unsettled_shares
from (
    select
        positions.account_key,
        positions.symbol_key,
        positions.shares as settled,
        0 as unsettled
    from exchange.positions
    union all
    select
        credits.account_key,
        credits.symbol_key,
        0 as settled,
        credits.shares as unsettled
    from exchange.credits
    where credits.shares > 0
) as held
inner join exchange.accounts on held.account_key = accounts.account_key
inner join exchange.symbols on held.symbol_key = symbols.symbol_key
group by accounts.account_id, symbols.sym;

comment on view exchange.account_positions is 'The shares that each account can sell, by symbol.';
comment on column exchange.account_positions.account_id is 'The client''s own identifier.';
comment on column exchange.account_positions.sym is 'The symbol.';
comment on column exchange.account_positions.shares is 'Free shares: settled and unsettled. Shares reserved by open sells are not in it.';
comment on column exchange.account_positions.settled_shares is 'What is in the account''s position row.';
comment on column exchange.account_positions.unsettled_shares is 'What waits in credits.';

create view exchange.order_book as
select
    symbols.sym,
    resting_orders.side,
    abs(resting_orders.price_rank) as limit_price,
    resting_orders.open_shares,
    resting_orders.order_id,
    accounts.account_id
from exchange.resting_orders
inner join exchange.symbols on resting_orders.symbol_key = symbols.symbol_key
inner join exchange.accounts on resting_orders.account_key = accounts.account_key
order by symbols.sym, resting_orders.side, resting_orders.price_rank, resting_orders.order_id;

comment on view exchange.order_book is 'Every open order, in the order in which it would be matched: best price first, then the earlier.';
comment on column exchange.order_book.sym is 'The symbol.';
comment on column exchange.order_book.side is 'buy or sell.';
comment on column exchange.order_book.limit_price is 'The highest price to buy at, the lowest to sell at.';
comment on column exchange.order_book.open_shares is 'What is neither executed nor cancelled.';
comment on column exchange.order_book.order_id is 'The order.';
comment on column exchange.order_book.account_id is 'The account that placed it.';

reset role;
