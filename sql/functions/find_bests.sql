-- Finds the best orders of symbols of which orders were removed, or whose trading was halted or goes on.
--
-- A side of which nothing was removed keeps the one that the newest update tells. Of the others the table tells it, from there on.
create or replace function exchange.find_bests(p_events exchange.run_event[], p_symbol_keys bigint[])
returns exchange.run_best[]
language plpgsql
as $$
begin
    return array(
        select
            case
                when removed.is_of_side then exchange.find_best(asked.symbol_key, sides.side, sides.best_rank, sides.best_id)
                else row(coalesce(sides.best_rank, 'Infinity'), coalesce(sides.best_id, 0))::exchange.run_best
            end
        from unnest(p_symbol_keys) as asked (symbol_key)
        left join lateral exchange.newest_update(asked.symbol_key) as newest on true
        cross join lateral (
            values ('buy'::exchange.side, newest.bid_rank, newest.bid_id), ('sell'::exchange.side, newest.ask_rank, newest.ask_id)
        ) as sides (side, best_rank, best_id)
        cross join lateral (
            select
                exists (
                    select
                    from unnest(p_events) as event
                    -- The side is that of the incoming order, if it were one that trades with them.
                    where event.symbol_key = asked.symbol_key and event.kind = 'remove' and event.side <> sides.side
                ) as is_of_side
            offset 0
        ) as removed
        order by asked.symbol_key, sides.side
    );
end
$$;

comment on function exchange.find_bests(exchange.run_event[], bigint[]) is
'The best orders of both sides of each of these symbols, ascending, buys first: for events that are removals, halts and resumptions. '
'The caller holds the symbols'' locks.';

revoke all on function exchange.find_bests(exchange.run_event[], bigint[]) from public;
