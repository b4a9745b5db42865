-- Tells a symbol's book as it was at a moment, order by order.
--
-- What is open now, and what has been executed, cancelled or reduced since, was open then. So it reads the history since that moment,
-- of all symbols, and nothing older but the orders themselves. It is one statement, so of one snapshot.
create or replace function exchange.book_at(p_sym text, p_at timestamptz)
returns table (
    order_id bigint,
    side exchange.side,
    price numeric,
    shares numeric
)
language plpgsql
stable
security definer
set search_path = exchange, pg_temp
set plan_cache_mode = force_custom_plan
set jit = off
as $$
declare
    c_symbol_key constant bigint := (select symbols.symbol_key from exchange.symbols where symbols.sym = p_sym);
begin
    return query
    with open_then as (
        select
            resting_orders.order_id,
            resting_orders.open_shares as shares
        from exchange.resting_orders
        where resting_orders.symbol_key = c_symbol_key
        union all
        select
            party.order_id,
            executions.shares
        from exchange.executions
        cross join lateral (values (executions.buy_order_id), (executions.sell_order_id)) as party (order_id)
        where executions.symbol_key = c_symbol_key and executions.executed_at > p_at
        union all
        select
            cancellations.order_id,
            cancellations.shares
        from exchange.cancellations
        where cancellations.canceled_at > p_at
        union all
        select
            reductions.order_id,
            reductions.shares
        from exchange.reductions
        where reductions.reduced_at > p_at
    )

    select
        orders.order_id,
        orders.side,
        trim_scale(orders.limit_price),
        trim_scale(sum(open_then.shares))
    from open_then
    inner join exchange.orders on open_then.order_id = orders.order_id
    -- An order placed later was not open then. One that never rested had ended when it was placed.
    where orders.symbol_key = c_symbol_key and orders.placed_at <= p_at
    group by orders.order_id, orders.side, orders.limit_price
    order by orders.side, exchange.price_rank(orders.side, orders.limit_price), orders.order_id;
end
$$;

comment on function exchange.book_at(text, timestamptz) is
'The book of a symbol as it was at a moment: every order that had open shares then, in the order in which it would have been matched, '
'buys first. What the times in orders, executions, cancellations and reductions say was done by then counts, at that very moment '
'too; a transaction that did several things did each at its own time. The further back, the more history is read. No '
'row where there is no such symbol. See snapshot_book for the book as it is.';

revoke all on function exchange.book_at(text, timestamptz) from public;
grant execute on function exchange.book_at(text, timestamptz) to exchange_gateway, exchange_reader;
