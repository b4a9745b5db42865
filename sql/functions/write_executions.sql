-- Writes the trades among the events of a match to the history of executions.
create or replace function exchange.write_executions(p_events exchange.run_event[], p_now timestamptz)
returns void
language plpgsql
as $$
begin
    insert into exchange.executions
    (symbol_key, buy_order_id, sell_order_id, shares, price, buy_limit, sell_limit, executed_at)
    select
        trade.symbol_key,
        case trade.side when 'buy' then trade.order_id else trade.resting_id end,
        case trade.side when 'buy' then trade.resting_id else trade.order_id end,
        trade.shares,
        trade.price,
        case trade.side when 'buy' then trade.limit_price else trade.price end,
        case trade.side when 'buy' then trade.price else trade.limit_price end,
        p_now
    from unnest(p_events) as trade
    where trade.kind = 'trade';
end
$$;

comment on function exchange.write_executions(exchange.run_event[], timestamptz) is
'Adds the trades of a match to executions, in the order in which they were made.';

revoke all on function exchange.write_executions(exchange.run_event[], timestamptz) from public;
