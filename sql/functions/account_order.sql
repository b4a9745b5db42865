-- An account's order as it was placed, named by its id or by its ref; no row if the account has no such order. Somebody else's
-- order is as unknown as one that doesn't exist, so that nobody learns which ids are in use.
--
-- Simple enough to be inlined. The offset keeps the planner from turning the caller's query around: it looks the order up by id.
create or replace function exchange.account_order(p_account_id text, p_order_id bigint, p_ref text default null)
returns table (
    order_id bigint,
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
    orders.order_id,
    orders.account_key,
    orders.symbol_key,
    orders.side,
    orders.limit_price,
    exchange.price_rank(orders.side, orders.limit_price),
    exchange.symbol_slot(orders.symbol_key)
from exchange.orders
inner join exchange.accounts on orders.account_key = accounts.account_key
where
    accounts.account_id = p_account_id
    and orders.order_id = coalesce(
        p_order_id,
        (
            select order_terms.order_id
            from exchange.order_terms
            where
                order_terms.ref = p_ref
                and order_terms.account_key = (
                    select named.account_key
                    from exchange.accounts as named
                    where named.account_id = p_account_id
                )
        )
    )
    -- Who gives both has not said which one.
    and (p_order_id is null or p_ref is null)
offset 0
$$;

comment on function exchange.account_order(text, bigint, text) is
'The order with this id, or else this ref, if the account placed it, as it was placed: with its place in the book, and the slot of '
'the lock that guards its symbol.';

revoke all on function exchange.account_order(text, bigint, text) from public;
