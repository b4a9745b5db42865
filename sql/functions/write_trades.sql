-- Writes the trades among the events of a match: executions, and what is left of the orders that rested.
create or replace function exchange.write_trades(
    p_events exchange.run_event[],
    p_resting exchange.run_resting[],
    p_open numeric[],
    p_now timestamptz
)
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

    delete from exchange.resting_orders
    using unnest(p_resting) with ordinality as resting
    where p_open[resting.ordinality] = 0 and resting_orders.ctid = resting.row_address;

    update exchange.resting_orders
    set open_shares = p_open[resting.ordinality]
    from unnest(p_resting) with ordinality as resting
    where
        p_open[resting.ordinality] > 0
        and p_open[resting.ordinality] < resting.open_shares
        and resting_orders.ctid = resting.row_address;
end
$$;

comment on function exchange.write_trades(exchange.run_event[], exchange.run_resting[], numeric[], timestamptz) is
'Writes the executions of a match, and what is open now of the orders that it loaded from the book.';

revoke all on function exchange.write_trades(exchange.run_event[], exchange.run_resting[], numeric[], timestamptz) from public;
