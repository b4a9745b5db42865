-- What requests need besides the symbols that they change. Each is done by itself, unless its sequence goes beyond the base protocol
-- and changes anything: then what others do for the same account doesn't come between its requests.
create or replace function exchange.survey(p_requests exchange.request[])
returns table (
    place integer,
    account_id text,
    acts boolean,
    is_whole boolean
)
language sql
immutable
as $$
select
    asked.place,
    asked.account_id,
    asked.action in (
        'place_order', 'replace_order', 'reduce_order', 'reduce_order_to', 'cancel_all', 'arm_switch', 'disarm_switch', 'fire_switch'
    )
    or (asked.is_whole and asked.action in ('query_order', 'cancel_order', 'look_account', 'list_orders', 'look_book')),
    asked.is_whole
from (
    select
        request.place::integer as place,
        request.account_id,
        request.action,
        bool_or(exchange.is_beyond(request.action, request.terms)) over sequences
        and bool_or(
            request.action in (
                'place_order', 'replace_order', 'reduce_order', 'reduce_order_to', 'cancel_order', 'cancel_all',
                'arm_switch', 'disarm_switch', 'fire_switch'
            )
        ) over sequences
        and count(*) over sequences > 1 as is_whole
    from unnest(p_requests) with ordinality as request (
        sequence, action, account_id, sym, amount, limit_price, order_id, certificate_name, terms, place
    )
    window sequences as (partition by request.sequence)
) as asked
$$;

comment on function exchange.survey(exchange.request[]) is
'Of each request, by its place in the batch: whether it acts under the lock of its account, and whether its sequence is to be done '
'whole or not at all.';

revoke all on function exchange.survey(exchange.request[]) from public;
