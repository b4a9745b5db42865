-- Checks that nothing that an account has, is owed or has reserved is below zero, and that incoming orders are sound: they have no
-- constraints, which would cost at each insert.
create or replace function exchange.check_holdings()
returns table (
    invariant text,
    subject text,
    detail text
)
language sql
stable
as $$
select
    'balance_never_negative',
    format('account %s', coalesce(accounts.account_id, format('with key %s', holdings.account_key)))
    || coalesce(', symbol ' || coalesce(symbols.sym, 'with key ' || holdings.symbol_key), ''),
    format('has or is owed %s', trim_scale(holdings.amount))
from exchange.holdings
left join exchange.accounts on holdings.account_key = accounts.account_key
left join exchange.symbols on holdings.symbol_key = symbols.symbol_key
where holdings.kind in ('settled', 'owed') and (holdings.amount >= 0 and holdings.amount < 'Infinity') is not true
union all
select
    'incoming_order_is_of_shares',
    format('incoming order %s', incoming_orders.incoming_id),
    format(
        '%s shares at %s, with terms %s', trim_scale(incoming_orders.shares), trim_scale(incoming_orders.limit_price), incoming_orders.terms
    )
from exchange.incoming_orders
cross join lateral (
    select (incoming_orders.terms).type is not distinct from 'market' as is_market
) as order_type
where
    (
        incoming_orders.shares > 0 and incoming_orders.shares < 'Infinity'
        and case
            when not order_type.is_market then incoming_orders.limit_price > 0 and incoming_orders.limit_price < 'Infinity'
            else incoming_orders.limit_price is null
        end
        and case
            when order_type.is_market and incoming_orders.side = 'buy'
                then (incoming_orders.terms).budget > 0 and (incoming_orders.terms).budget < 'Infinity'
            else (incoming_orders.terms).budget is null
        end
    ) is not true
union all
select
    'incoming_order_is_there_once',
    format('incoming order %s', incoming_orders.incoming_id),
    format('there are %s rows', count(*))
from exchange.incoming_orders
group by incoming_orders.incoming_id
having count(*) > 1
$$;

comment on function exchange.check_holdings() is
'A row for each balance, position or credit below zero, and for each incoming order that is not of a positive number of shares '
'at a positive limit, or at none and with a budget if it buys where it is a market order, or that is there twice. Part of check_integrity.';

revoke all on function exchange.check_holdings() from public;
grant execute on function exchange.check_holdings() to exchange_reader;
