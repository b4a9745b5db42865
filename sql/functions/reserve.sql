-- Reserves what a run of orders can cost: the first of the two stages of an order. Names no book and locks no symbol.
--
--   1. resolve  keys instead of names; what is malformed or not allowed is refused
--              an order that its ref has placed before takes nothing
--   2. load     the cash and shares that the orders take from
--   3. reserve  all of it where everybody can pay; else order by order, after what accounts are owed was folded in
--   4. write    what was taken
--
-- The caller holds the locks of the accounts in p_balances: others don't exist. Nor do symbols that aren't among the
-- held locks; null where it holds no locks of symbols, and the match will.
create or replace function exchange.reserve(
    p_requests exchange.request[],
    p_balances exchange.run_balance[],
    p_held exchange.held_locks,
    p_has_terms boolean
)
returns exchange.reservation[]
language plpgsql
as $$
declare
    v_account_keys constant bigint[] := array(select balances.account_key from unnest(p_balances) as balances);
    v_orders exchange.reservation[] := exchange.resolve_orders(p_requests, v_account_keys, p_held);
    v_holdings exchange.run_holding[];
    v_short bigint[];
begin
    if p_has_terms then
        v_orders := exchange.resolve_terms(v_orders);
    end if;
    v_holdings := exchange.load_holdings(v_orders, v_account_keys, p_balances);
    v_short := exchange.find_short(v_holdings);
    if cardinality(v_short) > 0 then
        -- What they are owed is theirs to spend. It moves their rows.
        perform exchange.settle_accounts(v_short, null);
        v_holdings := exchange.load_holdings(v_orders, v_account_keys, exchange.load_balances(v_account_keys));
        if cardinality(exchange.find_short(v_holdings)) > 0 then
            select
                decided.orders,
                decided.holdings
            into v_orders, v_holdings
            from exchange.reserve_one_by_one(v_orders, v_holdings) as decided;
        end if;
    end if;

    perform exchange.write_holdings(v_holdings);
    return v_orders;
end
$$;

comment on function exchange.reserve(exchange.request[], exchange.run_balance[], exchange.held_locks, boolean) is
'Reserves cash and shares for a run of orders: takes the most that each can cost from the settled holdings of its account, or '
'refuses it. The caller holds the locks of the accounts, whose balances it tells, and says whether any order has terms: use '
'reserve_orders.';

revoke all on function exchange.reserve(exchange.request[], exchange.run_balance[], exchange.held_locks, boolean) from public;
