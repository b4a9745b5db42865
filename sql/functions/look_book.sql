-- Returns the best levels of one symbol's book: a batch of one.
create or replace function exchange.look_book(p_account_id text, p_sym text, p_depth integer default null)
returns table (
    outcome text,
    price numeric,
    shares numeric,
    orders bigint,
    seq bigint,
    halted_at timestamptz,
    code text,
    message text
)
language sql
security definer
set search_path = exchange, pg_temp
as $$
select
    answer.outcome,
    answer.price,
    answer.shares,
    answer.amount::bigint,
    answer.order_id,
    to_timestamp(answer.at),
    answer.code,
    answer.message
from exchange.process_batch(
    array[(1, 'look_book', p_account_id, p_sym, p_depth, null, null, null, null)::exchange.request]
) as answer
$$;

comment on function exchange.look_book(text, text, integer) is
'The book of a symbol as an account may see it, which need not have anything in it: a row book, with the number of its last change; a row '
'halted, while trading is; then a row for each of the p_depth best bids, best first, and the same of asks (10 where it is not said, 1,000 '
'at most). Or one row refused, where there is no such account or symbol.';

revoke all on function exchange.look_book(text, text, integer) from public;
grant execute on function exchange.look_book(text, text, integer) to exchange_gateway;
