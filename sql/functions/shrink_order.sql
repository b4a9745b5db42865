-- Cancels a part of what is open of an order that rests, and owes its account what was reserved for that part. The best order of its
-- side stays the best.
create or replace function exchange.shrink_order(p_order exchange.resting_orders, p_shares numeric, p_now timestamptz)
returns void
language plpgsql
as $$
begin
    update exchange.resting_orders
    set open_shares = resting_orders.open_shares - p_shares
    where
        resting_orders.symbol_key = p_order.symbol_key
        and resting_orders.side = p_order.side
        and resting_orders.price_rank = p_order.price_rank
        and resting_orders.order_id = p_order.order_id;

    insert into exchange.reductions (order_id, shares, reduced_at)
    values (p_order.order_id, p_shares, p_now);

    insert into exchange.credits (account_key, symbol_key, shares, cash)
    values (
        p_order.account_key,
        p_order.symbol_key,
        case p_order.side when 'sell' then p_shares else 0 end,
        case p_order.side when 'buy' then p_shares * abs(p_order.price_rank) else 0 end
    );

    perform exchange.write_updates(array[exchange.removal_of(p_order, p_shares)], null, null, p_now);
end
$$;

comment on function exchange.shrink_order(exchange.resting_orders, numeric, timestamptz) is
'Cancels so many of the open shares of an order, fewer than all, and owes its account what was reserved for them. The caller holds the '
'lock of the symbol.';

revoke all on function exchange.shrink_order(exchange.resting_orders, numeric, timestamptz) from public;
