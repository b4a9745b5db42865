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

create view exchange.holdings as
select
    balances.account_key,
    null::bigint as symbol_key,
    'settled' as kind,
    balances.cash as amount
from exchange.balances
union all
select
    positions.account_key,
    positions.symbol_key,
    'settled' as kind,
    positions.shares as amount
from exchange.positions
union all
select
    credits.account_key,
    owed.symbol_key,
    'owed' as kind,
    owed.amount
from exchange.credits
cross join lateral (values (null, credits.cash), (credits.symbol_key, credits.shares)) as owed (symbol_key, amount)
union all
select
    incoming_orders.account_key,
    case incoming_orders.side when 'sell' then incoming_orders.symbol_key end as symbol_key,
    'incoming' as kind,
    case incoming_orders.side
        when 'buy' then coalesce((incoming_orders.terms).budget, incoming_orders.shares * incoming_orders.limit_price)
        else incoming_orders.shares
    end as amount
from exchange.incoming_orders
union all
select
    resting_orders.account_key,
    case resting_orders.side when 'sell' then resting_orders.symbol_key end as symbol_key,
    'open' as kind,
    resting_orders.open_shares * case resting_orders.side when 'buy' then -resting_orders.price_rank else 1 end as amount
from exchange.resting_orders;

comment on view exchange.holdings is
'Where all money and shares are, by internal key: there is no other place. Their sums are what deposits and trades make; '
'check_integrity holds them against it.';
comment on column exchange.holdings.account_key is 'The account whose it is.';
comment on column exchange.holdings.symbol_key is 'The symbol of the shares; null where it is money.';
comment on column exchange.holdings.kind is
'settled: in balances or positions, free. owed: in credits, free as well. incoming: reserved for an order that is not in the '
'market yet. open: reserved for the open part of an order.';
comment on column exchange.holdings.amount is 'Money, or shares of that symbol.';

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
