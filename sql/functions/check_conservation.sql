-- Checks that money and shares only move and are never created or lost, to the last digit.
--
-- symbol_key is null for money. What an account has (settled and owed) must be what it was given, less
-- what it paid, plus what it got, less what its open orders reserve. In total, deposits must be what accounts have and
-- what open orders reserve.
create or replace function exchange.check_conservation()
returns table (
    invariant text,
    subject text,
    detail text
)
language sql
stable
as $$
with holdings as (
    select
        balances.account_key,
        null::bigint as symbol_key,
        balances.cash as amount
    from exchange.balances
    union all
    select
        positions.account_key,
        positions.symbol_key,
        positions.shares
    from exchange.positions
    union all
    select
        credits.account_key,
        null,
        credits.cash
    from exchange.credits
    union all
    select
        credits.account_key,
        credits.symbol_key,
        credits.shares
    from exchange.credits
),

reservations as (
    select
        resting_orders.account_key,
        case resting_orders.side when 'sell' then resting_orders.symbol_key end as symbol_key,
        case resting_orders.side
            when 'sell' then resting_orders.open_shares
            else resting_orders.open_shares * abs(resting_orders.price_rank)
        end as amount
    from exchange.resting_orders
),

trades as (
    select
        bought.account_key as buyer_key,
        sold.account_key as seller_key,
        executions.symbol_key,
        executions.shares,
        executions.shares * executions.price as cash
    from exchange.executions
    left join exchange.orders as bought on executions.buy_order_id = bought.order_id
    left join exchange.orders as sold on executions.sell_order_id = sold.order_id
),

movements as (
    select
        deposits.account_key,
        deposits.symbol_key,
        deposits.amount
    from exchange.deposits
    union all
    select
        trades.buyer_key,
        null,
        -trades.cash
    from trades
    union all
    select
        trades.seller_key,
        null,
        trades.cash
    from trades
    union all
    select
        trades.buyer_key,
        trades.symbol_key,
        trades.shares
    from trades
    union all
    select
        trades.seller_key,
        trades.symbol_key,
        -trades.shares
    from trades
    union all
    select
        reservations.account_key,
        reservations.symbol_key,
        -reservations.amount
    from reservations
),

account_sums as (
    select
        sums.account_key,
        sums.symbol_key,
        sum(sums.has) as has,
        sum(sums.due) as due
    from (
        select
            holdings.account_key,
            holdings.symbol_key,
            holdings.amount as has,
            0 as due
        from holdings
        union all
        select
            movements.account_key,
            movements.symbol_key,
            0 as has,
            movements.amount as due
        from movements
    ) as sums
    group by sums.account_key, sums.symbol_key
),

total_sums as (
    select
        sums.symbol_key,
        sum(sums.has) as has,
        sum(sums.deposited) as deposited
    from (
        select
            holdings.symbol_key,
            holdings.amount as has,
            0 as deposited
        from holdings
        union all
        select
            reservations.symbol_key,
            reservations.amount as has,
            0 as deposited
        from reservations
        union all
        select
            deposits.symbol_key,
            0 as has,
            deposits.amount as deposited
        from exchange.deposits
    ) as sums
    group by sums.symbol_key
)

select
    case when account_sums.symbol_key is null then 'account_cash_adds_up' else 'account_shares_add_up' end,
    format('account %s', coalesce(accounts.account_id, format('with key %s', account_sums.account_key)))
    || coalesce(', symbol ' || coalesce(symbols.sym, 'with key ' || account_sums.symbol_key), ''),
    format(
        'has %s, but deposits and trades less what open orders reserve make %s',
        trim_scale(account_sums.has), trim_scale(account_sums.due)
    )
from account_sums
left join exchange.accounts on account_sums.account_key = accounts.account_key
left join exchange.symbols on account_sums.symbol_key = symbols.symbol_key
where account_sums.has <> account_sums.due
union all
select
    case when total_sums.symbol_key is null then 'cash_is_conserved' else 'shares_are_conserved' end,
    coalesce('symbol ' || coalesce(symbols.sym, 'with key ' || total_sums.symbol_key), 'all accounts'),
    format(
        '%s deposited, but accounts have and open orders reserve %s',
        trim_scale(total_sums.deposited), trim_scale(total_sums.has)
    )
from total_sums
left join exchange.symbols on total_sums.symbol_key = symbols.symbol_key
where total_sums.has <> total_sums.deposited
union all
select
    'balance_never_negative',
    format('account %s', coalesce(accounts.account_id, format('with key %s', holdings.account_key)))
    || coalesce(', symbol ' || coalesce(symbols.sym, 'with key ' || holdings.symbol_key), ''),
    format('has or is owed %s', trim_scale(holdings.amount))
from holdings
left join exchange.accounts on holdings.account_key = accounts.account_key
left join exchange.symbols on holdings.symbol_key = symbols.symbol_key
where (holdings.amount >= 0 and holdings.amount < 'Infinity') is not true
$$;

comment on function exchange.check_conservation() is
'A row for each account, and in total for each symbol and for money, where what is there is not what deposits and '
'trades make of it; and for each balance below zero. Part of check_integrity.';

revoke all on function exchange.check_conservation() from public;
grant execute on function exchange.check_conservation() to exchange_reader;
