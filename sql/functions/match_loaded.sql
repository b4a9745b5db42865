-- Price-time priority: matches incoming orders, from the run's place on, with what is loaded of the book. Touches no table.
--
-- A loop over the orders: trade with the best resting order, again and again; rest the remainder. The resting orders of a side are
-- a chain: v_best leads to the first, v_next from each to the one behind it. Each symbol has two sides: its buys, then its sells.
-- An order with terms is planned to its end before it begins: plan_order.
--
-- Ends before the last order, or amid it, where all that was loaded of a side is used up and the table may have more.
create or replace function exchange.match_loaded(p_incoming exchange.incoming_orders[], p_run exchange.run)
returns exchange.run
language plpgsql
as $$
declare
    c_sides constant exchange.run_side[] := p_run.sides;
    c_last_ranks constant numeric[] := p_run.last_ranks; -- of each side
    c_symbol_keys constant bigint[] := p_run.symbol_keys; -- ascending, so that width_bucket finds a symbol's place by binary search

    v_order_ids bigint[] := p_run.order_ids;
    v_codes text[] := p_run.codes;
    v_events exchange.run_event[] := array[]::exchange.run_event[];
    v_best integer[] := p_run.best; -- of each side

    -- By resting order: those loaded, then those that came to rest.
    v_resting exchange.run_resting[] := p_run.resting;
    v_open numeric[] := p_run.open;
    v_next integer[] := p_run.next;

    i integer := p_run.place; -- the incoming order
    v_order exchange.incoming_orders;
    v_left numeric := p_run.shares_left; -- of its shares; null before it has begun
    v_reach numeric; -- the highest price_rank that it can trade with
    v_symbol integer;
    v_side integer;
    v_resting_order exchange.run_resting; -- the one that it trades with
    v_place integer; -- where that is in v_resting
    v_before integer;
    v_shares numeric;
    v_is_planned boolean;
    v_plan exchange.run_plan;
    v_step exchange.run_step;
begin
    while i <= cardinality(p_incoming) loop
        v_order := p_incoming[i];
        v_symbol := width_bucket(v_order.symbol_key, c_symbol_keys);
        v_side := 2 * v_symbol - (v_order.side = 'sell')::integer; -- the other side
        v_place := v_best[v_side];
        p_run.has_terms := p_run.has_terms or v_order.terms is distinct from null;
        v_is_planned := v_order.terms is distinct from null and exchange.is_planned(v_order.terms);
        if v_is_planned or c_symbol_keys[v_symbol] is distinct from v_order.symbol_key then
            if c_symbol_keys[v_symbol] is distinct from v_order.symbol_key then
                v_codes[i] := 'symbol_halted'; -- such a symbol has no sides
            else
                v_plan := exchange.plan_order(v_order, v_place, c_last_ranks[v_side] is null, v_resting, v_open, v_next);
                p_run.lacks := v_plan.lacks;
                exit when v_plan.lacks;
                v_codes[i] := v_plan.code;
                p_run.messages[i] := v_plan.message;
            end if;
            if v_codes[i] is not null then
                v_events := v_events || exchange.event_of('refuse', v_order, null, v_order.shares, null, null);
                i := i + 1;
                continue;
            end if;
        end if;

        if v_left is null then
            v_order_ids[i] := nextval('exchange.order_ids');
            v_left := v_order.shares;
        end if;
        v_reach := -exchange.price_rank(v_order.side, v_order.limit_price);
        if v_is_planned then
            foreach v_step in array v_plan.steps loop
                v_resting_order := v_resting[v_step.place];
                v_open[v_step.place] := v_open[v_step.place] - v_step.shares;
                v_events := v_events
                    || exchange.event_of(v_step.kind, v_order, v_order_ids[i], v_step.shares, v_step.place, v_resting_order);
            end loop;
            p_run.used_up := true;
            p_run.reduced := true;
            v_best[v_side] := v_plan.best;
            v_left := v_plan.rests;
            p_run.ends := p_run.ends
                || row(i, v_order.shares - v_left - v_plan.cancels, v_plan.cancels, v_plan.passed)::exchange.order_end;
            if v_left = 0 then
                v_events := v_events || exchange.event_of('cancel', v_order, v_order_ids[i], v_plan.cancels, null, null);
            end if;
        else
            -- Trade with the first order of the other side, at its limit, as long as that is within this order's.
            while v_left > 0 and v_resting[v_place].price_rank <= v_reach loop
                v_resting_order := v_resting[v_place];
                v_shares := least(v_left, v_open[v_place]);
                v_left := v_left - v_shares;
                v_open[v_place] := v_open[v_place] - v_shares;
                v_events := v_events || exchange.event_of('trade', v_order, v_order_ids[i], v_shares, v_place, v_resting_order);
                if v_open[v_place] = 0 then
                    p_run.used_up := true;
                    v_place := v_next[v_place];
                else
                    p_run.reduced := true;
                end if;
            end loop;
            v_best[v_side] := v_place;
            exit when v_left > 0 and v_place is null and c_last_ranks[v_side] is not null;
        end if;

        -- Rest what is left, behind everything as good or better. Beyond what was loaded of its side it joins no chain: nobody gets
        -- there before the book is loaded again.
        if v_left > 0 then
            v_side := 2 * v_symbol - (v_order.side = 'buy')::integer;
            v_place := cardinality(v_resting) + 1;
            v_resting := v_resting
                || row(v_side, -v_reach, v_order_ids[i], v_order.account_key, v_left, null)::exchange.run_resting;
            v_open[v_place] := v_left;
            v_events := v_events || exchange.event_of('add', v_order, v_order_ids[i], v_left, v_place, null);
            if (c_last_ranks[v_side] > -v_reach) is not false then
                v_before := null;
                v_next[v_place] := v_best[v_side];
                while v_resting[v_next[v_place]].price_rank <= -v_reach loop
                    v_before := v_next[v_place];
                    v_next[v_place] := v_next[v_before];
                    exit when c_sides[v_side].reach is null; -- no incoming order trades with this side: only its first order matters
                end loop;
                if v_before is null then
                    v_best[v_side] := v_place;
                else
                    v_next[v_before] := v_place;
                end if;
            end if;
        end if;
        v_left := null;
        i := i + 1;
    end loop;

    p_run.place := i;
    p_run.shares_left := v_left;
    p_run.order_ids := v_order_ids;
    p_run.codes := v_codes;
    p_run.best := v_best;
    p_run.adds := cardinality(v_resting) - cardinality(p_run.resting);
    p_run.resting := v_resting;
    p_run.open := v_open;
    p_run.events := v_events;
    return p_run;
end
$$;

comment on function exchange.match_loaded(exchange.incoming_orders[], exchange.run) is
'Matches incoming orders by price-time priority with the part of the book that a run has loaded, as far as that lasts, and '
'returns the run with what happened. Touches no table.';

revoke all on function exchange.match_loaded(exchange.incoming_orders[], exchange.run) from public;
