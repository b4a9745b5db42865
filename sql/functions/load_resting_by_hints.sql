-- Loads what load_resting does, with the help of hints (see book_hints): quicker while vacuum can't keep up, slower otherwise.
create or replace function exchange.load_resting_by_hints(p_sides exchange.run_side[])
returns exchange.run_resting[]
language plpgsql
as $$
begin
    return (
        select coalesce(array_agg(
            row(
                sides.ordinality, best.price_rank, best.order_id, best.account_key, best.open_shares, best.row_address
            )::exchange.run_resting
        ), '{}')
        from unnest(p_sides) with ordinality as sides
        cross join lateral exchange.first_orders(
            sides.symbol_key,
            sides.side,
            coalesce(sides.best_rank, '-Infinity'),
            coalesce(sides.best_id, 0),
            sides.reach,
            sides.depth
        ) as best
        where coalesce(sides.best_rank, '-Infinity') <= sides.reach
    );
end
$$;

comment on function exchange.load_resting_by_hints(exchange.run_side[]) is
'The same as load_resting, read by first_orders, which uses hints.';

revoke all on function exchange.load_resting_by_hints(exchange.run_side[]) from public;
