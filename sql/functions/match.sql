-- Matches incoming orders by price-time priority, in the order given, and lets rest what stays open.
--
-- The only code that matches. It changes nothing but the book: what anybody gains waits in credits. The caller holds the locks
-- of all of the orders' symbols, and has taken from somewhere what is reserved for them.
--
-- Works on the whole run of orders in memory:
--   1. load   the part of the book that these orders can reach, side by side, best first
--   2. match  them with it: match_loaded, where price-time priority stands
--   3. write  what happened: trades, gains, what came to rest, and the updates of books
-- If an order uses up all that was loaded of its side of the book, this is repeated from there.
create or replace function exchange.match(
    p_incoming exchange.incoming_orders[],
    p_replaced_order_id bigint default null,
    p_released_shares numeric default null,
    out order_ids bigint[],
    out codes text[],
    out messages text[],
    out told exchange.order_terms[]
)
language plpgsql
as $$
declare
    c_now constant timestamptz := clock_timestamp();
    c_count constant integer := coalesce(cardinality(p_incoming), 0);
    v_run exchange.run;
    v_spare_depth integer := 3; -- how many more resting orders to load than there are orders that may trade with them
    v_ends integer := 0; -- how many orders with terms have been planned and carried out
    v_stepped_over bigint := -exchange.count_stepped_over(); -- index entries of the book that led to no order any more
begin
    v_run.place := 1;
    v_run.order_ids := array_fill(null::bigint, array[c_count]);
    v_run.codes := array_fill(null::text, array[c_count]);
    v_run.ends := '{}';

    while v_run.place <= c_count loop
        -- 1. Load.
        v_run.sides := exchange.load_sides(p_incoming, v_run.place, v_spare_depth, c_now);
        v_run.resting := exchange.load_resting(v_run.sides);
        v_run := exchange.chain_loaded(v_run);

        -- 2. Match.
        v_run := exchange.match_loaded(p_incoming, v_run);
        v_spare_depth := v_spare_depth * case when v_run.lacks then 16 else 4 end;

        -- 3. Write.
        if v_run.adds < cardinality(v_run.events) then
            perform exchange.write_executions(v_run.events, c_now);
            perform exchange.write_gains(v_run.events);
        end if;
        if cardinality(v_run.ends) > v_ends then
            perform exchange.write_cancellations(v_run.events, c_now);
            v_ends := cardinality(v_run.ends);
        end if;
        if v_run.used_up then
            perform exchange.write_used_up(v_run.resting, v_run.open);
        end if;
        if v_run.reduced then
            perform exchange.write_reduced(v_run.resting, v_run.open);
        end if;
        if v_run.adds > 0 then
            perform exchange.write_adds(v_run.events, v_run.open);
        end if;
        if cardinality(v_run.events) > 0 then
            perform exchange.write_updates(v_run.events, v_run.symbol_keys, exchange.known_bests(v_run), c_now);
        end if;
    end loop;
    order_ids := v_run.order_ids;
    codes := v_run.codes;
    messages := v_run.messages;
    perform exchange.write_orders(p_incoming, order_ids, c_now);
    if v_run.has_terms then
        told := exchange.write_order_terms(p_incoming, order_ids, v_run.ends, p_replaced_order_id, p_released_shares);
    end if;

    -- If vacuum can't keep up, spare the next matches what this one stepped over. By now every incoming order rests that ever
    -- will: see note_book_hints.
    v_stepped_over := v_stepped_over + exchange.count_stepped_over();
    if v_stepped_over > 50 + 4 * c_count then
        perform exchange.note_book_hints(array_agg(incoming.symbol_key), array_agg(sides.side), c_now)
        from unnest(p_incoming) as incoming
        cross join unnest(enum_range(null::exchange.side)) as sides (side);
    end if;
end
$$;

comment on function exchange.match(exchange.incoming_orders[], bigint, numeric) is
'Matches incoming orders, in the order given, by price-time priority at the resting order''s limit, and lets rest what stays '
'open and may rest. Of each, at its place: the id that it got, or the code of why it was refused, and the message, where only the '
'match can tell it. told: what it has added to order_terms. What is gained or given back waits in credits. The caller holds the '
'locks of all their symbols. The last two arguments are for a replace: see write_order_terms.';

revoke all on function exchange.match(exchange.incoming_orders[], bigint, numeric) from public;
