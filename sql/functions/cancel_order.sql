-- Ends the open part of one order: a batch of one.
create or replace function exchange.cancel_order(p_account_id text, p_order_id bigint default null, ref text default null)
returns table (
    outcome text,
    shares numeric,
    price numeric,
    at timestamptz,
    code text,
    message text,
    order_id bigint
)
language sql
security definer
set search_path = exchange, pg_temp
as $$
select parts.*
from exchange.process_request('cancel_order', p_account_id, p_order_id, ref) as parts
$$;

comment on function exchange.cancel_order(text, bigint, text) is
'Cancels what is open of an order of this account, named by its id or by its ref, and gives back what was reserved for it. Rows as '
'query_order gives them, or one row refused with the reason.';

revoke all on function exchange.cancel_order(text, bigint, text) from public;
grant execute on function exchange.cancel_order(text, bigint, text) to exchange_gateway;
