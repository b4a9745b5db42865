-- Writes what is open now of the loaded orders that a match has used in part.
create or replace function exchange.write_reduced(p_resting exchange.run_resting[], p_open numeric[])
returns void
language plpgsql
as $$
begin
    update exchange.resting_orders
    set open_shares = p_open[resting.ordinality]
    from unnest(p_resting) with ordinality as resting
    where
        p_open[resting.ordinality] > 0
        and p_open[resting.ordinality] < resting.open_shares
        and resting_orders.ctid = resting.row_address;
end
$$;

comment on function exchange.write_reduced(exchange.run_resting[], numeric[]) is
'Updates in the book the orders that a match has loaded and of which less is open now.';

revoke all on function exchange.write_reduced(exchange.run_resting[], numeric[]) from public;
