-- Returns the state of one order: a batch of one.
create or replace function exchange.query_order(p_account_id text, p_order_id bigint default null, ref text default null)
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
from exchange.process_request('query_order', p_account_id, p_order_id, ref) as parts
$$;

comment on function exchange.query_order(text, bigint, text) is
'The state of an order of this account, named by its id or by its ref: at most one row open or canceled, then a row for each '
'reduction and each execution, oldest first; or one row refused, where the account has no such order.';

revoke all on function exchange.query_order(text, bigint, text) from public;
grant execute on function exchange.query_order(text, bigint, text) to exchange_gateway;
