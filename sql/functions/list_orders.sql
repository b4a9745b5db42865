-- Lists one account's open orders: a batch of one.
create or replace function exchange.list_orders(
    p_account_id text,
    p_sym text default null,
    p_after bigint default null,
    p_max integer default null
)
returns table (
    outcome text,
    order_id bigint,
    sym text,
    amount numeric,
    limit_price numeric,
    open_shares numeric,
    ref text,
    placed_at timestamptz,
    code text,
    message text
)
language sql
security definer
set search_path = exchange, pg_temp
as $$
select
    answer.outcome,
    answer.order_id,
    answer.sym,
    answer.amount,
    answer.price,
    answer.shares,
    answer.ref,
    to_timestamp(answer.at),
    answer.code,
    answer.message
from exchange.process_batch(
    array[(1, 'list_orders', p_account_id, p_sym, p_max, null, p_after, null, null)::exchange.request]
) as answer
where answer.outcome <> 'orders'
$$;

comment on function exchange.list_orders(text, text, bigint, integer) is
'The open orders of an account by id, of one symbol if it is named, and only those with ids above p_after: a row order for each, '
'p_max at most (1,000 where it is not said, and never more), and a row more if there are more. amount is as placed, below 0 for a sell. '
'No row where none is open; one row refused with the reason, where there is no such account.';

revoke all on function exchange.list_orders(text, text, bigint, integer) from public;
grant execute on function exchange.list_orders(text, text, bigint, integer) to exchange_gateway;
