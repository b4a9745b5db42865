-- Tells the newest trades of a symbol, for whoever looks at the market: nobody's account is in it.
--
-- Walks back along the executions of all symbols, which needs no index of its own, and so not for ever: over the newest 100,000.
create or replace function exchange.tape(p_sym text, p_most integer default 100)
returns table (
    execution_id bigint,
    executed_at timestamptz,
    taker_side exchange.side,
    shares numeric,
    price numeric,
    buy_order_id bigint,
    sell_order_id bigint
)
language sql
stable
security definer
set search_path = exchange, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
select
    newest.execution_id,
    newest.executed_at,
    case when newest.buy_order_id > newest.sell_order_id then 'buy' else 'sell' end::exchange.side,
    trim_scale(newest.shares),
    trim_scale(newest.price),
    newest.buy_order_id,
    newest.sell_order_id
from (
    select
        executions.execution_id,
        executions.symbol_key,
        executions.executed_at,
        executions.shares,
        executions.price,
        executions.buy_order_id,
        executions.sell_order_id
    from exchange.executions
    order by executions.execution_id desc
    limit 100000
) as newest
where newest.symbol_key = (select symbols.symbol_key from exchange.symbols where symbols.sym = p_sym)
order by newest.execution_id desc
limit p_most
$$;

comment on function exchange.tape(text, integer) is
'The newest trades of a symbol, newest first, p_most at most, as far as they are among the newest 100,000 of the exchange (executions has '
'all of them); none where there is no such symbol. taker_side: the side of the order that came in and traded with one that rested.';

revoke all on function exchange.tape(text, integer) from public;
grant execute on function exchange.tape(text, integer) to exchange_gateway, exchange_reader;
