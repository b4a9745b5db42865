-- Reads the cash and shares that a run of orders takes from, ascending by key, each with what they take of it together.
create or replace function exchange.load_holdings(
    p_orders exchange.reservation[],
    p_account_keys bigint[],
    p_balances exchange.run_balance[]
)
returns exchange.run_holding[]
language plpgsql
stable
as $$
begin
    return array(
        select
            case
                when exchange.position_key_symbol(wanted.holding_key) = 0
                    then (wanted.holding_key, balance.row_address, balance.cash, wanted.needed)::exchange.run_holding
                else (wanted.holding_key, held.row_address, coalesce(held.shares, 0), wanted.needed)::exchange.run_holding
            end
        from (
            select
                placed.holding_key,
                sum(exchange.order_cost(placed.side, placed.shares, placed.limit_price, (placed.terms).budget)) as needed
            from unnest(p_orders) as placed
            where placed.code is null
            group by placed.holding_key
            order by placed.holding_key
        ) as wanted
        cross join lateral (
            select (p_balances[width_bucket(exchange.position_key_account(wanted.holding_key), p_account_keys)]).*
        ) as balance
        left join lateral (
            select
                positions.ctid as row_address,
                positions.shares
            from exchange.positions
            where
                exchange.position_key_symbol(wanted.holding_key) > 0
                and positions.account_key = exchange.position_key_account(wanted.holding_key)
                and positions.symbol_key = exchange.position_key_symbol(wanted.holding_key)
            order by positions.generation desc
            limit 1
        ) as held on true
    );
end
$$;

comment on function exchange.load_holdings(exchange.reservation[], bigint[], exchange.run_balance[]) is
'The cash and shares that orders take from, ascending by key: what there is of each, and what is needed. The caller holds the '
'locks of the accounts, whose keys and balances it tells.';

revoke all on function exchange.load_holdings(exchange.reservation[], bigint[], exchange.run_balance[]) from public;
