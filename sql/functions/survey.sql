-- What requests need besides the symbols that they change. Each is done by itself, unless its sequence goes beyond the base protocol
-- and changes anything: then what others do for the same account doesn't come between its requests.
create or replace function exchange.survey(p_requests exchange.request[])
returns table (
    place integer,
    request exchange.request,
    acts boolean,
    is_whole boolean
)
language sql
immutable
as $$
select
    asked.place,
    (
        asked.sequence, asked.action, asked.account_id, asked.sym, asked.amount, asked.limit_price, asked.order_id,
        asked.certificate_name, asked.terms
    )::exchange.request,
    asked.action in (
        'place_order', 'replace_order', 'reduce_order', 'reduce_order_to', 'cancel_all', 'arm_switch', 'disarm_switch', 'fire_switch'
    )
    or (asked.is_whole and asked.action in ('query_order', 'cancel_order', 'look_account', 'list_orders', 'look_book')),
    asked.is_whole
from (
    select
        one.place::integer as place,
        one.sequence,
        one.action,
        one.account_id,
        one.sym,
        one.amount,
        one.limit_price,
        one.order_id,
        one.certificate_name,
        one.terms,
        bool_or(exchange.is_beyond(one.action, one.terms)) over sequences
        and bool_or(
            one.action in (
                'place_order', 'replace_order', 'reduce_order', 'reduce_order_to', 'cancel_order', 'cancel_all',
                'arm_switch', 'disarm_switch', 'fire_switch'
            )
        ) over sequences
        and count(*) over sequences > 1 as is_whole
    from unnest(p_requests) with ordinality as one (
        sequence, action, account_id, sym, amount, limit_price, order_id, certificate_name, terms, place
    )
    window sequences as (partition by one.sequence)
) as asked
$$;

comment on function exchange.survey(exchange.request[]) is
'Of each request, with its place in the batch: whether it acts under the lock of its account, and whether its sequence is to be done '
'whole or not at all.';

revoke all on function exchange.survey(exchange.request[]) from public;
