-- Cancels all open orders of one account: a batch of one.
create or replace function exchange.cancel_all_orders(p_account_id text, p_sym text default null)
returns table (
    outcome text,
    order_id bigint,
    shares numeric,
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
    answer.shares,
    answer.code,
    answer.message
from exchange.process_batch(
    array[(1, 'cancel_all', p_account_id, p_sym, null, null, null, null, null)::exchange.request]
) with ordinality as answer
order by answer.ordinality
$$;

comment on function exchange.cancel_all_orders(text, text) is
'Cancels every open order of an account, of one symbol if p_sym is given, and gives back what was reserved for them. Rows: '
'canceled_all, and for each order canceled, by id; or refused with the reason.';

revoke all on function exchange.cancel_all_orders(text, text) from public;
grant execute on function exchange.cancel_all_orders(text, text) to exchange_gateway;
