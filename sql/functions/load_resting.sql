-- Loads the part of the book that a match can reach: side by side, best first, up to each side's depth.
--
-- Reads from the best order on; where no update tells it, from the start of the side.
create or replace function exchange.load_resting(p_sides exchange.run_side[])
returns exchange.run_resting[]
language plpgsql
as $$
begin
    -- While vacuum can't keep up there are hints. Without any, this is the quicker way.
    for n in 1 .. cardinality(p_sides) loop
        if p_sides[n].is_hinted then
            return exchange.load_resting_by_hints(p_sides);
        end if;
    end loop;

    return (
        select coalesce(array_agg(
            row(best.side_place, best.price_rank, best.order_id, best.account_key, best.open_shares, best.row_address)::exchange.run_resting
        ), '{}')
        from (
            select
                sides.ordinality as side_place,
                resting.price_rank,
                resting.order_id,
                resting.account_key,
                resting.open_shares,
                resting.row_address
            from unnest(p_sides) with ordinality as sides
            cross join lateral (
                select
                    resting_orders.price_rank,
                    resting_orders.order_id,
                    resting_orders.account_key,
                    resting_orders.open_shares,
                    resting_orders.ctid as row_address
                from exchange.resting_orders
                where
                    resting_orders.symbol_key = sides.symbol_key
                    and resting_orders.side = sides.side
                    and (resting_orders.price_rank, resting_orders.order_id)
                    >= (coalesce(sides.best_rank, '-Infinity'), coalesce(sides.best_id, 0))
                    and resting_orders.price_rank <= sides.reach
                order by resting_orders.price_rank, resting_orders.order_id
                limit sides.depth
            ) as resting
        ) as best
    );
end
$$;

comment on function exchange.load_resting(exchange.run_side[]) is
'The resting orders that a match can reach: those of the first side, best first, then those of the next. The caller holds '
'the symbols'' locks.';

revoke all on function exchange.load_resting(exchange.run_side[]) from public;
