-- An account's order as it was placed; no row if the account has no order with this id. Somebody else's order is as unknown
-- as one that doesn't exist, so that nobody learns which ids are in use.
--
-- Simple enough to be inlined. The offset keeps the planner from turning the caller's query around: it looks the order up by id.
create or replace function exchange.account_order(p_account_id text, p_order_id bigint)
returns table (
    account_key bigint,
    symbol_key bigint,
    side exchange.side,
    limit_price numeric,
    price_rank numeric,
    symbol_slot integer
)
language sql
stable
as $$
select
    orders.account_key,
    orders.symbol_key,
    orders.side,
    orders.limit_price,
    exchange.price_rank(orders.side, orders.limit_price),
    exchange.symbol_slot(orders.symbol_key)
from exchange.orders
inner join exchange.accounts on orders.account_key = accounts.account_key
where orders.order_id = p_order_id and accounts.account_id = p_account_id
offset 0
$$;

comment on function exchange.account_order(text, bigint) is
'The order with this id if the account placed it, as it was placed: with its place in the book, and the slot of the lock that '
'guards its symbol.';

revoke all on function exchange.account_order(text, bigint) from public;
