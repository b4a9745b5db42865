-- Gives back what is reserved for incoming orders that were deleted: nothing has happened. It is a credit, so the account needs no
-- lock.
create or replace function exchange.give_back(p_incoming exchange.incoming_orders[])
returns bigint
language plpgsql
as $$
begin
    insert into exchange.credits (account_key, symbol_key, shares, cash)
    select
        incoming.account_key,
        incoming.symbol_key,
        sum(case incoming.side when 'sell' then reserved.cost else 0 end),
        sum(case incoming.side when 'buy' then reserved.cost else 0 end)
    from unnest(p_incoming) as incoming
    cross join lateral exchange.order_cost(
        incoming.side, incoming.shares, incoming.limit_price, (incoming.terms).budget
    ) as reserved (cost)
    group by incoming.account_key, incoming.symbol_key;

    return coalesce(cardinality(p_incoming), 0)::bigint;
end
$$;

comment on function exchange.give_back(exchange.incoming_orders[]) is
'Owes accounts what was reserved for these incoming orders, which the caller has deleted; returns how many they are.';

revoke all on function exchange.give_back(exchange.incoming_orders[]) from public;
