-- Writes the orders of a match to the history of orders: those that have an id.
create or replace function exchange.write_orders(
    p_incoming exchange.incoming_orders[],
    p_order_ids bigint[],
    p_now timestamptz
)
returns void
language plpgsql
as $$
begin
    insert into exchange.orders (order_id, account_key, symbol_key, side, shares, limit_price, placed_at)
    select
        p_order_ids[incoming.ordinality],
        incoming.account_key,
        incoming.symbol_key,
        incoming.side,
        incoming.shares,
        incoming.limit_price,
        p_now
    from unnest(p_incoming) with ordinality as incoming
    where p_order_ids[incoming.ordinality] is not null;
end
$$;

comment on function exchange.write_orders(exchange.incoming_orders[], bigint[], timestamptz) is
'Adds to orders those incoming ones that have got an id, each the one at its place.';

revoke all on function exchange.write_orders(exchange.incoming_orders[], bigint[], timestamptz) from public;
