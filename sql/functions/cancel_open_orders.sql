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
    select array_agg(resting_orders.order_id order by resting_orders.order_id) as order_ids
    from exchange.resting_orders
    inner join exchange.accounts on resting_orders.account_key = accounts.account_key
    where accounts.account_id = p_account_id
) as resting
cross join lateral exchange.process_batch(
    array_fill(1, array[cardinality(resting.order_ids)]),
    array_fill('cancel_order'::text, array[cardinality(resting.order_ids)]),
    array_fill(p_account_id, array[cardinality(resting.order_ids)]),
    array_fill(null::text, array[cardinality(resting.order_ids)]),
    array_fill(null::numeric, array[cardinality(resting.order_ids)]),
    array_fill(null::numeric, array[cardinality(resting.order_ids)]),
    resting.order_ids
) as canceled
where resting.order_ids is not null
$$;

comment on function exchange.cancel_open_orders(text) is
'Cancels every open order of an account, in a transaction of its own. Rows as cancel_order gives them, with the order that '
'each is of; none where nothing was open.';

revoke all on function exchange.cancel_open_orders(text) from public;
