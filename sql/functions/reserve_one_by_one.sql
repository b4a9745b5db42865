-- Decides order by order what is reserved, where not everybody can pay for everything. Sequence by sequence, for between
-- sequences nothing is promised.
--
-- What earlier orders of its sequence bring may pay for an order, once they are matched. So where one of them is reserved, the
-- first order that can't be paid for is not refused: it must be asked again after the match, and so must all behind it.
create or replace function exchange.reserve_one_by_one(
    p_orders exchange.reservation[],
    p_holdings exchange.run_holding[],
    out orders exchange.reservation[],
    out holdings exchange.run_holding[]
)
language plpgsql
stable
as $$
declare
    v_holding_keys constant bigint[] := array(select holding.holding_key from unnest(p_holdings) as holding);
    v_free numeric[] := array(select holding.available from unnest(p_holdings) as holding);
    v_order exchange.reservation;
    v_sequence integer;
    v_has_reserved boolean := false;
    v_waits boolean := false;
    v_place integer;
    v_cost numeric;
begin
    orders := p_orders;
    for v_order in
        select asked.*
        from unnest(p_orders) as asked
        order by asked.sequence, asked.place
    loop
        if v_order.sequence is distinct from v_sequence then
            v_sequence := v_order.sequence;
            v_has_reserved := false;
            v_waits := false;
        end if;

        if v_waits then
            orders[v_order.place].code := 'later';
        elsif v_order.code is null then
            v_cost := exchange.order_cost(v_order.side, v_order.shares, v_order.limit_price, (v_order.terms).budget);
            v_place := width_bucket(v_order.holding_key, v_holding_keys);
            if v_free[v_place] >= v_cost then
                v_free[v_place] := v_free[v_place] - v_cost;
                v_has_reserved := true;
            elsif v_has_reserved then
                orders[v_order.place].code := 'later';
                v_waits := true;
            else
                orders[v_order.place].code := case v_order.side when 'buy' then 'insufficient_funds' else 'insufficient_shares' end;
                orders[v_order.place].message := format(
                    'insufficient %s: %s needed, %s available',
                    case v_order.side
                        when 'buy' then 'funds'
                        else 'shares of ' || (select symbols.sym from exchange.symbols where symbols.symbol_key = v_order.symbol_key)
                    end,
                    trim_scale(v_cost),
                    trim_scale(v_free[v_place])
                );
            end if;
        end if;
    end loop;

    holdings := array(
        select (holding.holding_key, holding.row_address, holding.available, holding.available - v_free[place])::exchange.run_holding
        from unnest(p_holdings) with ordinality as holding (holding_key, row_address, available, taken, place)
        order by holding.place
    );
end
$$;

comment on function exchange.reserve_one_by_one(exchange.reservation[], exchange.run_holding[]) is
'Reserves for each order what it needs, or says why not: insufficient_funds, insufficient_shares, or later. Returns the '
'orders with these codes, and the holdings with what was taken.';

revoke all on function exchange.reserve_one_by_one(exchange.reservation[], exchange.run_holding[]) from public;
