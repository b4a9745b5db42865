-- Carries out one query or cancel: a batch of one, whose answer has times as timestamps.
create or replace function exchange.process_request(p_action text, p_account_id text, p_order_id bigint, p_ref text)
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
as $$
select
    answer.outcome,
    answer.shares,
    answer.price,
    to_timestamp(answer.at),
    answer.code,
    answer.message,
    answer.order_id
from exchange.process_batch(
    array[
        (
            1, p_action, p_account_id, null, null, null, p_order_id, null,
            case when p_ref is not null then (p_ref, null, null, null, null, null, null, null)::exchange.terms end
        )::exchange.request
    ]
) as answer
$$;

comment on function exchange.process_request(text, text, bigint, text) is
'Carries out one request about one order: the part that query_order and cancel_order have in common. Use those.';

revoke all on function exchange.process_request(text, text, bigint, text) from public;
