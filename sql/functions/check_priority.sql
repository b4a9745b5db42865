-- Checks that each fill went to the best order that was open: price first, then time.
--
-- Ids of orders and executions ascend in time within a symbol. So an order was open at a fill if it was placed before
-- the order that took the fill, and was filled again later or still rests. If it had priority over the order that got
-- the fill, that is a violation. (An order that was cancelled later does not count against a fill: a clock that is set
-- back may put the cancel on the wrong side of it.)
--
-- Fills are read in order with, for each side of a symbol, a stack of earlier fills. Of fills followed by one of an order
-- with the same or lower priority only the latter is kept, so that the first one on the stack that was taken after an
-- order was placed has the lowest priority of all of them.
create or replace function exchange.check_priority()
returns table (
    invariant text,
    subject text,
    detail text
)
language plpgsql
stable
as $$
declare
    v_fill record;
    v_book text := '';
    v_depth integer := 0;
    v_places integer[]; -- of the order that got the fill, among all of its side of the symbol: 1 has most priority
    v_taker_ids bigint[];
    v_executions text[];
    v_low integer;
    v_high integer;
    v_middle integer;
begin
    for v_fill in
        with fills as (
            select
                executions.symbol_key,
                case when executions.buy_order_id < executions.sell_order_id then 'buy' else 'sell' end as side,
                case
                    when executions.buy_order_id < executions.sell_order_id then -executions.buy_limit
                    else executions.sell_limit
                end as price_rank,
                least(executions.buy_order_id, executions.sell_order_id) as order_id,
                greatest(executions.buy_order_id, executions.sell_order_id) as taker_id,
                executions.execution_id
            from exchange.executions
            union all
            -- The next fill will be of an order that rests now.
            select
                resting_orders.symbol_key,
                resting_orders.side::text,
                resting_orders.price_rank,
                resting_orders.order_id,
                null as taker_id,
                null as execution_id
            from exchange.resting_orders
        )

        select
            format('%s of symbol key %s', fills.side, fills.symbol_key) as book,
            fills.order_id,
            fills.taker_id,
            fills.execution_id,
            dense_rank() over (
                partition by fills.symbol_key, fills.side
                order by fills.price_rank, fills.order_id
            )::integer as place
        from fills
        order by fills.symbol_key, fills.side, fills.execution_id nulls last
    loop
        if v_fill.book <> v_book then
            v_book := v_fill.book;
            v_depth := 0;
        end if;

        -- The first fill on the stack that was taken by an order placed after this one.
        v_low := 1;
        v_high := v_depth + 1;
        while v_low < v_high loop
            v_middle := (v_low + v_high) / 2;
            if v_taker_ids[v_middle] > v_fill.order_id then
                v_high := v_middle;
            else
                v_low := v_middle + 1;
            end if;
        end loop;
        if v_low <= v_depth and v_places[v_low] > v_fill.place then
            invariant := 'fills_keep_priority';
            subject := format('order %s', v_fill.order_id);
            detail := format(
                'was open (%s) and had priority over the order that got execution %s',
                coalesce('execution ' || v_fill.execution_id || ' came later', 'it still is'), v_executions[v_low]
            );
            return next;
        end if;

        if v_fill.execution_id is not null then
            while v_depth > 0 and v_places[v_depth] <= v_fill.place loop
                v_depth := v_depth - 1;
            end loop;
            v_depth := v_depth + 1;
            v_places[v_depth] := v_fill.place;
            v_taker_ids[v_depth] := v_fill.taker_id;
            v_executions[v_depth] := v_fill.execution_id::text;
        end if;
    end loop;
end
$$;

comment on function exchange.check_priority() is
'A row for each order that was open when another one with less priority got a fill: a worse price, or the same price '
'and placed later. Part of check_integrity.';

revoke all on function exchange.check_priority() from public;
grant execute on function exchange.check_priority() to exchange_reader;
