-- Finds where one order rests, by its place in the book.
create or replace function exchange.find_resting(p_order exchange.resting_orders)
returns exchange.resting_orders
language plpgsql
stable
as $$
declare
    v_resting exchange.resting_orders;
begin
    select
        resting_orders.symbol_key,
        resting_orders.side,
        resting_orders.price_rank,
        resting_orders.order_id,
        resting_orders.account_key,
        resting_orders.open_shares
    into v_resting
    from exchange.resting_orders
    where
        resting_orders.symbol_key = p_order.symbol_key
        and resting_orders.side = p_order.side
        and resting_orders.price_rank = p_order.price_rank
        and resting_orders.order_id = p_order.order_id;
    return v_resting;
end
$$;

comment on function exchange.find_resting(exchange.resting_orders) is
'The row of the book of this order, with what is open; all null where nothing of it is.';

revoke all on function exchange.find_resting(exchange.resting_orders) from public;
