-- Cancels all orders that an account has in the book, as one batch, which takes the locks in the order of all transactions.
--
-- It is complete for a frozen account; another one may place orders meanwhile.
create or replace function exchange.cancel_open_orders(p_account_id text)
returns table (
    order_id bigint,
    outcome text,
    shares numeric,
    price numeric,
    at timestamptz,
    code text,
    message text
)
language sql
security definer
set search_path = exchange, pg_temp
as $$
select
    canceled.order_id,
    canceled.outcome,
    canceled.shares,
    canceled.price,
    to_timestamp(canceled.at),
    canceled.code,
    canceled.message
from (
    select
        array_agg(
            (1, 'cancel_order', p_account_id, null, null, null, resting_orders.order_id, null, null)::exchange.request
            order by resting_orders.order_id
        ) as requests
    from exchange.resting_orders
    inner join exchange.accounts on resting_orders.account_key = accounts.account_key
    where accounts.account_id = p_account_id
) as resting
cross join lateral exchange.process_batch(resting.requests) as canceled
where resting.requests is not null
$$;

comment on function exchange.cancel_open_orders(text) is
'Cancels every open order of an account, in a transaction of its own. Rows as cancel_order gives them, with the order that '
'each is of; none where nothing was open.';

revoke all on function exchange.cancel_open_orders(text) from public;
