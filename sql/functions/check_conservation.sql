-- Checks that money and shares only move and are never created or lost, to the last digit.
--
-- symbol_key is null for money. All that is an account's (settled, owed, reserved for its orders) must be what it was given,
-- less what it paid, plus what it got. In total, it must be what was deposited.
create or replace function exchange.check_conservation()
returns table (
    invariant text,
    subject text,
    detail text
)
language sql
stable
as $$
with holdings as materialized (
    select
        holdings.account_key,
        holdings.symbol_key,
        holdings.amount
    from exchange.holdings
),

trades as materialized (
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
        moved.account_key,
        moved.symbol_key,
        moved.amount
    from trades
    cross join lateral (
        values
        (trades.buyer_key, null, -trades.cash),
        (trades.buyer_key, trades.symbol_key, trades.shares),
        (trades.seller_key, null, trades.cash),
        (trades.seller_key, trades.symbol_key, -trades.shares)
    ) as moved (account_key, symbol_key, amount)
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
        'has %s, what is reserved for its orders included, but deposits and trades make %s',
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
        '%s deposited, but accounts have, and have reserved for orders, %s',
        trim_scale(total_sums.deposited), trim_scale(total_sums.has)
    )
from total_sums
left join exchange.symbols on total_sums.symbol_key = symbols.symbol_key
where total_sums.has <> total_sums.deposited
$$;

comment on function exchange.check_conservation() is
'A row for each account, and in total for each symbol and for money, where what is there is not what deposits and '
'trades make of it. Part of check_integrity.';

revoke all on function exchange.check_conservation() from public;
grant execute on function exchange.check_conservation() to exchange_reader;
