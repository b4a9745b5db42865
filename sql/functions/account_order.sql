-- The order of an account, as it was placed; no row where the account has none of this id. An order of somebody else is as
-- unknown as one that isn't there, so that nobody learns whose ids are in use.
--
-- Simple enough to be inlined. The offset keeps its caller's query from being turned around: the order is looked up by its id.
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
    (select exchange.symbol_slot(symbols.sym) from exchange.symbols where symbols.symbol_key = orders.symbol_key)
from exchange.orders
inner join exchange.accounts on orders.account_key = accounts.account_key
where orders.order_id = p_order_id and accounts.account_id = p_account_id
offset 0
$$;

comment on function exchange.account_order(text, bigint) is
'The order with this id if the account placed it, as it was placed: with its place in the book, and the slot of the lock that '
'guards its symbol.';

revoke all on function exchange.account_order(text, bigint) from public;
