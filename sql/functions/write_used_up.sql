-- Takes out of the book the loaded orders that a match has used up.
create or replace function exchange.write_used_up(p_resting exchange.run_resting[], p_open numeric[])
returns void
language plpgsql
as $$
begin
    delete from exchange.resting_orders
    using unnest(p_resting) with ordinality as resting
    where p_open[resting.ordinality] = 0 and resting_orders.ctid = resting.row_address;
end
$$;

comment on function exchange.write_used_up(exchange.run_resting[], numeric[]) is
'Deletes from the book the orders that a match has loaded and of which nothing is open now.';

revoke all on function exchange.write_used_up(exchange.run_resting[], numeric[]) from public;
