-- Matches incoming orders by price-time priority, in the order given, and lets rest what stays open.
--
-- The only code that matches. It changes nothing but the book: what anybody gains waits in credits. The caller holds the locks
-- of all of the orders' symbols, and has taken from somewhere what is reserved for them.
--
-- Works on the whole run of orders in memory, and writes once:
--   1. load   the part of the book that these orders can reach, side by side, best first
--   2. match  a loop over the orders: trade with the best resting order, again and again; rest the remainder
--   3. write  what happened: trades, gains, what came to rest, and the best orders now
-- If an order uses up all that was loaded of its side of the book, this is repeated from there.
--
-- What happened is told in events, in the order in which it happened. The resting orders of a side are a chain: v_best leads to
-- the first, v_next from each to the one behind it.
create or replace function exchange.match(
    p_incoming exchange.incoming_orders[],
    out order_ids bigint[],
    out codes text[]
)
language plpgsql
as $$
declare
    c_now constant timestamptz := clock_timestamp();
    c_count constant integer := coalesce(cardinality(p_incoming), 0);

    v_symbol_keys bigint[]; -- ascending, so that width_bucket finds a symbol's place by binary search
    v_sides exchange.run_side[]; -- two of each symbol: its buys, then its sells
    v_best integer[]; -- of each side, the place of the first resting order
    v_best_loaded integer[]; -- which that was before
    v_last_ranks numeric[]; -- of each side, how far it was loaded, where there may be more in the table

    v_resting exchange.run_resting[]; -- those loaded, then those that came to rest
    v_loaded integer;
    v_open numeric[]; -- shares of each that are open now
    v_next integer[];

    v_events exchange.run_event[];
    v_brings_gains boolean; -- whether events bring anybody anything

    i integer := 1; -- the order that is matched
    v_order exchange.incoming_orders;
    v_left numeric; -- its shares that are not traded yet; null before it has begun
    v_reach numeric; -- the highest price_rank that it can trade with
    v_symbol integer;
    v_side integer;
    v_maker exchange.run_resting; -- the order that it trades with
    v_place integer; -- where that is in v_resting
    v_before integer;
    v_shares numeric;

    v_hinted boolean;
    v_spare_depth integer := 3; -- how many more resting orders to load than there are orders that may trade with them
    v_stepped_over bigint := -exchange.count_stepped_over(); -- index entries of the book that led to no order any more
begin
    order_ids := array_fill(null::bigint, array[c_count]);
    codes := array_fill(null::text, array[c_count]);

    while i <= c_count loop
        -- 1. Load.
        v_sides := exchange.load_sides(p_incoming, i, v_spare_depth, c_now);
        select
            array_agg(sides.symbol_key) filter (where sides.side = 'buy'),
            bool_or(sides.is_hinted)
        into v_symbol_keys, v_hinted
        from unnest(v_sides) as sides;
        v_resting := case when v_hinted then exchange.load_resting_by_hints(v_sides) else exchange.load_resting(v_sides) end;
        v_spare_depth := v_spare_depth * 4;

        v_loaded := cardinality(v_resting);
        v_open := array_fill(null::numeric, array[v_loaded]);
        v_next := array_fill(null::integer, array[v_loaded]);
        v_best := array_fill(null::integer, array[cardinality(v_sides)]);
        v_last_ranks := v_best;
        for n in 1 .. v_loaded loop
            v_maker := v_resting[n];
            v_side := v_maker.side_place;
            v_open[n] := v_maker.open_shares;
            if v_best[v_side] is null then
                v_best[v_side] := n;
            else
                v_next[n - 1] := n;
            end if;
            if n - v_best[v_side] + 1 = v_sides[v_side].depth then
                v_last_ranks[v_side] := v_maker.price_rank;
            end if;
        end loop;
        v_best_loaded := v_best;

        -- 2. Match.
        v_events := '{}';
        v_brings_gains := false;
        while i <= c_count loop
            v_order := p_incoming[i];
            v_symbol := width_bucket(v_order.symbol_key, v_symbol_keys);

            -- No sides were loaded of a symbol that is halted.
            if v_symbol_keys[v_symbol] is distinct from v_order.symbol_key then
                codes[i] := 'symbol_halted';
                v_events := v_events || row(
                    'refuse', v_order.symbol_key, v_order.side, v_order.account_key, null, v_order.limit_price, v_order.shares,
                    null, null, null, null
                )::exchange.run_event;
                v_brings_gains := true;
                i := i + 1;
                continue;
            end if;

            if v_left is null then
                order_ids[i] := nextval('exchange.order_ids');
                v_left := v_order.shares;
            end if;

            -- Trade with the first order of the other side, at its limit, as long as that is within this order's.
            v_reach := -exchange.price_rank(v_order.side, v_order.limit_price);
            v_side := 2 * v_symbol - (v_order.side = 'sell')::integer;
            v_place := v_best[v_side];
            while v_left > 0 and v_resting[v_place].price_rank <= v_reach loop
                v_maker := v_resting[v_place];
                v_shares := least(v_left, v_open[v_place]);
                v_left := v_left - v_shares;
                v_open[v_place] := v_open[v_place] - v_shares;
                v_events := v_events || row(
                    'trade', v_order.symbol_key, v_order.side, v_order.account_key, order_ids[i], v_order.limit_price, v_shares,
                    v_place, v_maker.order_id, v_maker.account_key, abs(v_maker.price_rank)
                )::exchange.run_event;
                v_brings_gains := true;
                if v_open[v_place] = 0 then
                    v_place := v_next[v_place];
                end if;
            end loop;
            v_best[v_side] := v_place;

            -- All that was loaded of that side is used up and there may be more: write, and load again for this order.
            exit when v_left > 0 and v_place is null and v_last_ranks[v_side] is not null;

            -- Rest what is open, behind everything as good or better.
            if v_left > 0 then
                v_side := 2 * v_symbol - (v_order.side = 'buy')::integer;
                v_place := cardinality(v_resting) + 1;
                v_resting := v_resting || row(
                    v_side, -v_reach, order_ids[i], v_order.account_key, v_left, null
                )::exchange.run_resting;
                v_open[v_place] := v_left;
                v_events := v_events || row(
                    'add', v_order.symbol_key, v_order.side, v_order.account_key, order_ids[i], v_order.limit_price, v_left,
                    v_place, null, null, null
                )::exchange.run_event;
                if v_sides[v_side].reach is null then
                    -- No incoming order trades with this side, so only its best order matters.
                    if v_best[v_side] is null or -v_reach < v_resting[v_best[v_side]].price_rank then
                        v_best[v_side] := v_place;
                    end if;
                elsif (v_last_ranks[v_side] > -v_reach) is not false then
                    v_before := null;
                    v_next[v_place] := v_best[v_side];
                    while v_resting[v_next[v_place]].price_rank <= -v_reach loop
                        v_before := v_next[v_place];
                        v_next[v_place] := v_next[v_before];
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

        -- 3. Write.
        if v_brings_gains then
            perform exchange.write_trades(v_events, v_resting, v_open, c_now);
            perform exchange.write_gains(v_events);
        end if;
        if cardinality(v_resting) > v_loaded then
            perform exchange.write_adds(v_events, v_open);
        end if;
        perform exchange.quote_sides(v_sides, v_resting, v_best, v_best_loaded, v_last_ranks, c_now);
    end loop;
    perform exchange.write_orders(p_incoming, order_ids, c_now);

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

comment on function exchange.match(exchange.incoming_orders[]) is
'Matches incoming orders, in the order given, by price-time priority at the resting order''s limit, and lets rest what stays '
'open. Of each, at its place: the id that it got, or the code of why it was refused. What is gained or given back waits in '
'credits. The caller holds the locks of all their symbols.';

revoke all on function exchange.match(exchange.incoming_orders[]) from public;
