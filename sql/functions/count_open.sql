-- Counts open orders, credits and incoming orders for the gauges of a gateway, which may not read the tables.
--
-- These tables hold only the present, so the scan takes some milliseconds; the gateway asks for it at most every few
-- seconds.
create or replace function exchange.count_open()
returns table (
    open_orders bigint,
    unsettled_credits bigint,
    incoming_orders bigint
)
language sql
stable
security definer
set search_path = exchange, pg_temp
as $$
select
    (select count(*) from exchange.resting_orders) as open_orders,
    (select count(*) from exchange.credits) as unsettled_credits,
    (select count(*) from exchange.incoming_orders) as incoming_orders
$$;

comment on function exchange.count_open() is
'Counts the orders in the book, the credits that are not yet folded into their accounts, and the orders that are reserved for '
'and not in the market yet. For monitoring.';

revoke all on function exchange.count_open() from public;
grant execute on function exchange.count_open() to exchange_gateway, exchange_reader;
