-- Makes chains of what a run has loaded: those of one side stand in its resting orders one behind the other, best first.
create or replace function exchange.chain_loaded(p_run exchange.run)
returns exchange.run
language plpgsql
immutable
as $$
declare
    c_sides constant exchange.run_side[] := p_run.sides;
    c_resting constant exchange.run_resting[] := p_run.resting;
    v_symbol_keys bigint[] := array[]::bigint[];
    v_best integer[] := array_fill(null::integer, array[cardinality(c_sides)]);
    v_last_ranks numeric[] := array_fill(null::numeric, array[cardinality(c_sides)]);
    v_open numeric[] := array_fill(null::numeric, array[cardinality(c_resting)]);
    v_next integer[] := array_fill(null::integer, array[cardinality(c_resting)]);
    v_resting exchange.run_resting;
    v_side integer;
begin
    for n in 1 .. cardinality(c_sides) / 2 loop
        v_symbol_keys[n] := c_sides[2 * n].symbol_key;
    end loop;

    for n in 1 .. cardinality(c_resting) loop
        v_resting := c_resting[n];
        v_side := v_resting.side_place;
        v_open[n] := v_resting.open_shares;
        if v_best[v_side] is null then
            v_best[v_side] := n;
        else
            v_next[n - 1] := n;
        end if;
        if n - v_best[v_side] + 1 = c_sides[v_side].depth then
            v_last_ranks[v_side] := v_resting.price_rank;
        end if;
    end loop;

    p_run.symbol_keys := v_symbol_keys;
    p_run.best_loaded := v_best;
    p_run.best := v_best;
    p_run.last_ranks := v_last_ranks;
    p_run.open := v_open;
    p_run.next := v_next;
    p_run.used_up := false;
    p_run.reduced := false;
    p_run.lacks := false;
    return p_run;
end
$$;

comment on function exchange.chain_loaded(exchange.run) is
'The run with its loaded resting orders as chains, nothing used of them: the best of each side, and from each the next. Touches '
'no table.';

revoke all on function exchange.chain_loaded(exchange.run) from public;
