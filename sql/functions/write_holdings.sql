-- Writes what orders have taken from cash and from shares. The accounts are locked, so each row is still where it was read.
create or replace function exchange.write_holdings(p_holdings exchange.run_holding[])
returns void
language plpgsql
as $$
declare
    -- Of one order it is known which of the two it takes from.
    c_symbol_key constant bigint := case when cardinality(p_holdings) = 1 then exchange.position_key_symbol(p_holdings[1].holding_key) end;
begin
    if (c_symbol_key = 0) is not false then
        update exchange.balances
        set
            cash = balances.cash - holding.taken,
            changes = balances.changes + 1,
            generation = exchange.generation(balances.changes + 1)
        from unnest(p_holdings) as holding
        where
            exchange.position_key_symbol(holding.holding_key) = 0
            and holding.taken > 0
            and balances.ctid = holding.row_address;
    end if;

    if (c_symbol_key > 0) is not false then
        update exchange.positions
        set
            shares = positions.shares - holding.taken,
            changes = positions.changes + 1,
            generation = exchange.generation(positions.changes + 1)
        from unnest(p_holdings) as holding
        where
            exchange.position_key_symbol(holding.holding_key) > 0
            and holding.taken > 0
            and positions.ctid = holding.row_address;
    end if;
end
$$;

comment on function exchange.write_holdings(exchange.run_holding[]) is
'Takes from cash and shares what is reserved for orders. The caller holds the locks of the accounts.';

revoke all on function exchange.write_holdings(exchange.run_holding[]) from public;
