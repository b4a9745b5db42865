-- Checks that every key leads to exactly one row, which foreign and unique keys would guarantee if the hot tables had them.
create or replace function exchange.check_keys()
returns table (
    invariant text,
    subject text,
    detail text
)
language sql
stable
as $$
with links as (
    select
        format('positions (%s, %s)', positions.account_key, positions.symbol_key) as place,
        positions.account_key,
        positions.symbol_key,
        null::bigint as order_id
    from exchange.positions
    union all
    select
        format('balances (%s)', balances.account_key),
        balances.account_key,
        null,
        null
    from exchange.balances
    union all
    select
        format('orders %s', orders.order_id),
        orders.account_key,
        orders.symbol_key,
        null
    from exchange.orders
    union all
    select
        format('resting_orders %s', resting_orders.order_id),
        resting_orders.account_key,
        resting_orders.symbol_key,
        resting_orders.order_id
    from exchange.resting_orders
    union all
    select
        format('book_hints (%s, %s)', book_hints.symbol_key, book_hints.side),
        null,
        book_hints.symbol_key,
        null
    from exchange.book_hints
    union all
    select
        format('updates (%s, %s)', updates.symbol_key, updates.seq),
        null,
        updates.symbol_key,
        nullif(orders.order_id, 0)
    from exchange.updates
    cross join lateral (values (updates.bid_id), (updates.ask_id)) as orders (order_id)
    union all
    select
        format('executions %s', executions.execution_id),
        null,
        executions.symbol_key,
        orders.order_id
    from exchange.executions
    cross join lateral (values (executions.buy_order_id), (executions.sell_order_id)) as orders (order_id)
    union all
    select
        format('cancellations %s', cancellations.order_id),
        null,
        null,
        cancellations.order_id
    from exchange.cancellations
    union all
    select
        format('order_terms %s', order_terms.order_id),
        order_terms.account_key,
        null,
        orders.order_id
    from exchange.order_terms
    cross join lateral unnest(
        array[order_terms.order_id, order_terms.replaced_order_id] || order_terms.passed_order_ids
    ) as orders (order_id)
    union all
    select format('reductions %s', reductions.order_id), null, null, reductions.order_id from exchange.reductions
    union all
    select format('switches %s', switches.account_key), switches.account_key, null, null from exchange.switches
    union all
    select
        format('credits %s', credits.credit_id),
        credits.account_key,
        credits.symbol_key,
        null
    from exchange.credits
    union all
    select
        format('incoming_orders %s', incoming_orders.incoming_id),
        incoming_orders.account_key,
        incoming_orders.symbol_key,
        null
    from exchange.incoming_orders
    union all
    select
        format('deposits %s', deposits.deposit_id),
        deposits.account_key,
        deposits.symbol_key,
        null
    from exchange.deposits
)

select
    'no_orphans',
    links.place,
    concat_ws(
        ', ',
        case when accounts.account_key is null then 'no account has the key ' || links.account_key end,
        case when symbols.symbol_key is null then 'no symbol has the key ' || links.symbol_key end,
        case when orders.order_id is null then 'there is no order ' || links.order_id end
    )
from links
left join exchange.accounts on links.account_key = accounts.account_key
left join exchange.symbols on links.symbol_key = symbols.symbol_key
left join exchange.orders on links.order_id = orders.order_id
where
    (links.account_key is not null and accounts.account_key is null)
    or (links.symbol_key is not null and symbols.symbol_key is null)
    or (links.order_id is not null and orders.order_id is null)
union all
select
    'one_balance_each',
    format('account %s', accounts.account_id),
    format('has %s rows in balances', count(balances.account_key))
from exchange.accounts
left join exchange.balances on accounts.account_key = balances.account_key
group by accounts.account_id
having count(balances.account_key) <> 1
union all
select
    'one_position_each',
    format('positions (%s, %s)', positions.account_key, positions.symbol_key),
    format('there are %s rows', count(*))
from exchange.positions
group by positions.account_key, positions.symbol_key
having count(*) > 1
$$;

comment on function exchange.check_keys() is
'A row for each row that names an account, a symbol or an order that is not there, and for each balance or position that is '
'not there once. Part of check_integrity.';

revoke all on function exchange.check_keys() from public;
grant execute on function exchange.check_keys() to exchange_reader;
