-- Tells the best order of each side of a match now. Only where all that was loaded is used up, the table is asked. A side that a
-- match has left alone is as it was.
create or replace function exchange.known_bests(p_run exchange.run)
returns exchange.run_best[]
language plpgsql
as $$
declare
    c_sides constant exchange.run_side[] := p_run.sides;
    c_resting constant exchange.run_resting[] := p_run.resting;
    v_side exchange.run_side;
    v_best exchange.run_resting;
    v_bests exchange.run_best[] := array_fill(null::exchange.run_best, array[cardinality(c_sides)]);
begin
    for n in 1 .. cardinality(c_sides) loop
        v_side := c_sides[n];
        v_best := c_resting[p_run.best[n]];
        if p_run.best_loaded[n] is null and v_side.best_rank <= coalesce(v_best.price_rank, 'Infinity') then
            -- There was nothing within reach, and no better order rests there now.
            v_bests[n] := row(v_side.best_rank, v_side.best_id)::exchange.run_best;
        elsif
            (p_run.best_loaded[n] is null and v_side.best_id is not null)
            or v_best.price_rank <= coalesce(p_run.last_ranks[n], v_side.reach)
        then
            v_bests[n] := row(v_best.price_rank, v_best.order_id)::exchange.run_best;
        else
            v_bests[n] := exchange.find_best(v_side.symbol_key, v_side.side, v_side.best_rank, v_side.best_id);
        end if;
    end loop;
    return v_bests;
end
$$;

comment on function exchange.known_bests(exchange.run) is
'The best order of each side of a match, as it is now, when all that it did is written. The caller holds the symbols'' locks.';

revoke all on function exchange.known_bests(exchange.run) from public;
