-- Places one order: a batch of one.
create or replace function exchange.place_order(
    p_account_id text,
    p_sym text,
    p_amount numeric,
    p_limit numeric,
    out outcome text,
    out order_id bigint,
    out code text,
    out message text
)
language sql
security definer
set search_path = exchange, pg_temp
as $$
select
    answer.outcome,
    answer.order_id,
    answer.code,
    answer.message
from exchange.process_batch(
    array[1], array['place_order'], array[p_account_id], array[p_sym], array[p_amount], array[p_limit], array[null::bigint]
) as answer
$$;

comment on function exchange.place_order(text, text, numeric, numeric) is
'Places a limit order: p_amount shares, more than 0 to buy, less than 0 to sell, at p_limit or better. Matches at '
'once what can be matched and rests the remainder in the book. One row: opened with the order''s id, or refused with the reason.';

revoke all on function exchange.place_order(text, text, numeric, numeric) from public;
grant execute on function exchange.place_order(text, text, numeric, numeric) to exchange_gateway;
