-- The orders of an account that rest, in all symbols or in one. Simple enough to be inlined. The offset keeps it at the index by
-- account, whatever size the planner thinks the book has.
create or replace function exchange.resting_of(p_account_id text, p_sym text)
returns setof exchange.resting_orders
language sql
stable
as $$
select
    resting_orders.symbol_key,
    resting_orders.side,
    resting_orders.price_rank,
    resting_orders.order_id,
    resting_orders.account_key,
    resting_orders.open_shares
from exchange.resting_orders
where
    resting_orders.account_key = (select accounts.account_key from exchange.accounts where accounts.account_id = p_account_id)
    and (
        p_sym is null
        or resting_orders.symbol_key = (select symbols.symbol_key from exchange.symbols where symbols.sym = p_sym)
    )
offset 0
$$;

comment on function exchange.resting_of(text, text) is
'The orders of an account that rest in the book, of this symbol, or of all where it is null.';

revoke all on function exchange.resting_of(text, text) from public;
