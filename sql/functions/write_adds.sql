-- Puts into the book what came to rest in a match and is still open at its end.
create or replace function exchange.write_adds(p_events exchange.run_event[], p_open numeric[])
returns void
language plpgsql
as $$
begin
    insert into exchange.resting_orders (symbol_key, side, price_rank, order_id, account_key, open_shares)
    select
        added.symbol_key,
        added.side,
        exchange.price_rank(added.side, added.limit_price),
        added.order_id,
        added.account_key,
        p_open[added.resting_place]
    from unnest(p_events) as added
    where added.kind = 'add' and p_open[added.resting_place] > 0;
end
$$;

comment on function exchange.write_adds(exchange.run_event[], numeric[]) is
'Adds to the book the incoming orders that came to rest and were not used up by later ones of the same match.';

revoke all on function exchange.write_adds(exchange.run_event[], numeric[]) from public;
