-- Places a run of orders: reserves, matches by price-time priority, rests what stays open.
--
-- The only code that matches. A single order is a run of one. Called by process_batch, which holds the locks of
-- every symbol and account of the run.
--
-- The run is worked on in memory, in arrays, and written once:
--   1. resolve   queries read keys, cash and shares for all orders, and refuse what is malformed
--   2. load      one query reads the part of the book that these orders can reach, best first
--   3. match     a loop over the orders: reserve, fill against the book, rest the remainder
--   4. write     fills, credits, the book's changes and its best orders; then orders, cash and positions
-- If an order uses up all that was loaded of its side of the book, steps 2 to 4 are repeated from there.
--
-- An account that places several orders has one cash figure: v_cash[v_account], where v_accounts[v_account] is its key. Likewise
-- a position has v_held[v_position]. width_bucket finds either by binary search, because the keys ascend.
create or replace function exchange.place_orders(
    p_places integer[],
    p_requests exchange.request[],
    p_last_account_key bigint
)
returns setof exchange.answer
language plpgsql
as $$
declare
    c_now constant timestamptz := clock_timestamp();
    -- Taken before credits are read: every transaction before this one has committed by now, or never will.
    c_settled_before constant xid8 := pg_snapshot_xmin(pg_current_snapshot());
    c_count constant integer := cardinality(p_places);

    -- By order, 1 .. c_count.
    v_account_keys bigint[];
    v_symbol_keys bigint[];
    v_position_keys bigint[];
    v_buying boolean[];
    v_shares numeric[];
    v_limits numeric[];
    v_syms text[];
    v_reaches numeric[]; -- the highest price_rank of a resting order that this order may fill against
    v_codes text[];
    v_messages text[] := array_fill(null::text, array[c_count]);
    v_order_ids bigint[] := array_fill(null::bigint, array[c_count]);

    -- By account of the run, ascending.
    v_accounts bigint[]; -- its account_key
    v_balance_rows tid[]; -- where its balance is: the account is locked, so it stays there
    v_settled_before xid8[];
    v_cash numeric[];
    v_cash_before numeric[];

    -- By position of the run, ascending.
    v_positions bigint[]; -- its position_key
    v_held numeric[];
    v_held_before numeric[]; -- null where the account has no row for the symbol yet
    v_position_rows tid[]; -- where that row is

    -- By book side: both sides of each symbol, the one that orders of this run fill against and the one where they rest.
    v_side_keys bigint[];
    v_side_reaches numeric[]; -- null where no order of this run can fill
    v_side_depths integer[];
    v_quoted_ranks numeric[]; -- of the best order as last quoted
    v_quoted_ids bigint[];
    v_first integer[]; -- the best resting order
    v_first_loaded integer[]; -- which that was before this run
    v_last_rank numeric[]; -- of what was loaded, where there may be more in the table
    v_new_best integer[]; -- the best resting order, where it isn't the one last quoted

    -- By resting order, loaded from the book or left there by this run.
    v_rest_side_places integer[]; -- null where its side isn't loaded
    v_rest_symbols bigint[];
    v_rest_sides exchange.side[];
    v_rest_rows tid[]; -- where its row is, null where it has none yet
    v_rest_ids bigint[];
    v_rest_ranks numeric[];
    v_rest_open numeric[];
    v_rest_loaded numeric[]; -- open shares as the table has them, null where it has no row yet
    v_rest_accounts bigint[];
    v_next integer[];

    -- By fill.
    v_fill_orders integer[];
    v_fill_rests integer[];
    v_fill_shares numeric[];
    v_fill_credited integer[]; -- where the other party's cash or shares are, null where its account isn't in this run

    v_owed record;
    v_unsure integer[]; -- of each book side whose best order only the table can tell, one order
    i integer := 1;
    v_hinted boolean; -- whether there is a fresh hint for any book side: first_orders finds out for which
    v_stepped_over bigint := -exchange.count_stepped_over(); -- index entries of the book that led to no order any more
    v_spare_depth integer := 3; -- how many more resting orders to load than there are orders that may fill against them
    v_open numeric; -- open shares of order i, null before it has reserved
    v_account integer;
    v_position integer;
    v_side integer;
    v_rest integer;
    v_before integer;
    v_fill numeric;
    v_credited integer;
    v_money numeric;
begin
    -- 1. Resolve.
    select
        array_agg(placed.account_key),
        array_agg(placed.symbol_key),
        array_agg(placed.position_key),
        array_agg(placed.amount > 0),
        array_agg(abs(placed.amount)),
        array_agg(placed.limit_price),
        array_agg(placed.sym),
        array_agg(case when placed.amount > 0 then placed.limit_price else -placed.limit_price end),
        array_agg(
            case
                when placed.account_key is null then 'unknown_account'
                when placed.amount = 0 or not exchange.is_number(placed.amount) then 'invalid_amount'
                when placed.limit_price <= 0 or not exchange.is_number(placed.limit_price) then 'invalid_limit'
                when placed.symbol_key is null then 'unknown_symbol'
                when placed.frozen_at is not null then 'account_frozen'
                when placed.halted_at is not null then 'symbol_halted'
            end
        )
    into v_account_keys, v_symbol_keys, v_position_keys, v_buying, v_shares, v_limits, v_syms, v_reaches, v_codes
    from (
        select
            accounts.account_key,
            accounts.frozen_at,
            symbols.symbol_key,
            symbols.halted_at,
            exchange.position_key(accounts.account_key, symbols.symbol_key) as position_key,
            asked.sym,
            asked.amount,
            asked.limit_price
        from unnest(p_requests) with ordinality as asked (
            sequence, action, account_id, sym, amount, limit_price, order_id, certificate_name, place
        )
        -- Lateral, so that each row is looked up by its key, whatever size the planner thinks the tables have.
        -- An account with a higher key was created after the locks were taken, and isn't locked.
        left join lateral (
            select
                accounts.account_key,
                accounts.frozen_at
            from exchange.accounts
            where accounts.account_id = asked.account_id and accounts.account_key <= p_last_account_key
            offset 0
        ) as accounts on true
        left join lateral (
            select
                symbols.symbol_key,
                symbols.halted_at
            from exchange.symbols
            where symbols.sym = asked.sym
            offset 0
        ) as symbols on true
        order by asked.place
    ) as placed;

    select
        array_agg(run_account.account_key),
        array_agg(balances.balance_row),
        array_agg(balances.settled_before),
        array_agg(balances.cash)
    into v_accounts, v_balance_rows, v_settled_before, v_cash_before
    from (
        select distinct placed.account_key
        from unnest(v_account_keys) as placed (account_key)
        where placed.account_key is not null
        order by placed.account_key
    ) as run_account
    left join lateral (
        select
            balances.ctid as balance_row,
            balances.settled_before,
            balances.cash
        from exchange.balances
        where balances.account_key = run_account.account_key
        order by balances.generation desc
        limit 1
    ) as balances on true;

    select
        array_agg(run_position.position_key),
        array_agg(positions.position_row),
        array_agg(positions.shares)
    into v_positions, v_position_rows, v_held_before
    from (
        select distinct placed.position_key
        from unnest(v_position_keys) as placed (position_key)
        where placed.position_key is not null
        order by placed.position_key
    ) as run_position
    left join lateral (
        select
            positions.ctid as position_row,
            positions.shares
        from exchange.positions
        where
            positions.account_key = exchange.position_key_account(run_position.position_key)
            and positions.symbol_key = exchange.position_key_symbol(run_position.position_key)
        order by positions.generation desc
        limit 1
    ) as positions on true;

    -- An account without a balance doesn't count as one: what it is owed stays in credits.
    if array_position(v_balance_rows, null) is not null then
        v_codes := array(
            select case when v_balance_rows[width_bucket(v_account_keys[n], v_accounts)] is null then 'unknown_account' else v_codes[n] end
            from generate_series(1, c_count) as n
        );
    end if;

    -- These accounts can spend what they are owed.
    v_cash := v_cash_before;
    v_held := v_held_before;
    for v_owed in
        select
            width_bucket(collected.account_key, v_accounts) as account,
            width_bucket(collected.position_key, v_positions) as place,
            collected.cash,
            collected.shares
        from exchange.collect_credits(v_accounts, v_settled_before, v_positions) as collected
    loop
        v_cash[v_owed.account] := v_cash[v_owed.account] + v_owed.cash;
        if v_owed.place is not null then
            v_held[v_owed.place] := coalesce(v_held[v_owed.place], 0) + v_owed.shares;
        end if;
    end loop;

    while i <= c_count loop
        -- 2. Load.
        select
            array_agg(book_side.side_key),
            array_agg(book_side.reach),
            array_agg(book_side.takers + v_spare_depth),
            array_agg(quote.price_rank),
            array_agg(quote.order_id),
            bool_or(hint.seen_at between c_now - interval '10 seconds' and c_now)
        into v_side_keys, v_side_reaches, v_side_depths, v_quoted_ranks, v_quoted_ids, v_hinted
        from (
            select
                exchange.side_key(placed.symbol_key, sides.buying) as side_key,
                max(placed.reach) filter (where placed.buying <> sides.buying) as reach,
                count(*) filter (where placed.buying <> sides.buying)::integer as takers
            from unnest(v_symbol_keys[i:], v_buying[i:], v_reaches[i:], v_codes[i:])
                as placed (symbol_key, buying, reach, code)
            cross join (values (true), (false)) as sides (buying)
            where placed.code is null
            group by 1
            order by 1
        ) as book_side
        left join lateral (
            select
                quotes.price_rank,
                quotes.order_id
            from exchange.quotes
            where
                quotes.symbol_key = exchange.side_key_symbol(book_side.side_key)
                and quotes.side = exchange.side_key_side(book_side.side_key)
            order by quotes.quote_id desc
            limit 1
        ) as quote on true
        left join lateral (
            select book_hints.seen_at
            from exchange.book_hints
            where
                book_hints.symbol_key = exchange.side_key_symbol(book_side.side_key)
                and book_hints.side = exchange.side_key_side(book_side.side_key)
            order by book_hints.seen_id desc
            limit 1
        ) as hint on true;

        exit when v_side_keys is null;

        -- Read from the best order on; if none is quoted, from the start of the side. While vacuum can't keep up there are
        -- hints. first_orders uses them, and costs more than this query if there are none.
        if v_hinted then
            select
                array_agg(sides.place::integer),
                array_agg(sides.symbol_key),
                array_agg(sides.side),
                array_agg(best.row_address),
                array_agg(best.order_id),
                array_agg(best.price_rank),
                array_agg(best.open_shares),
                array_agg(best.account_key)
            into
                v_rest_side_places, v_rest_symbols, v_rest_sides, v_rest_rows, v_rest_ids, v_rest_ranks, v_rest_open,
                v_rest_accounts
            from (
                select
                    sides.place,
                    exchange.side_key_symbol(sides.side_key) as symbol_key,
                    exchange.side_key_side(sides.side_key) as side,
                    sides.quoted_rank,
                    sides.quoted_id,
                    sides.reach,
                    sides.depth
                from unnest(v_side_keys, v_side_reaches, v_side_depths, v_quoted_ranks, v_quoted_ids)
                    with ordinality as sides (side_key, reach, depth, quoted_rank, quoted_id, place)
            ) as sides
            cross join lateral exchange.first_orders(
                sides.symbol_key,
                sides.side,
                coalesce(sides.quoted_rank, '-Infinity'),
                coalesce(sides.quoted_id, 0),
                sides.reach,
                sides.depth
            ) as best
            where coalesce(sides.quoted_rank, '-Infinity') <= sides.reach;
        else
            select
                array_agg(resting.place::integer),
                array_agg(resting.symbol_key),
                array_agg(resting.side),
                array_agg(resting.row_address),
                array_agg(resting.order_id),
                array_agg(resting.price_rank),
                array_agg(resting.open_shares),
                array_agg(resting.account_key)
            into
                v_rest_side_places, v_rest_symbols, v_rest_sides, v_rest_rows, v_rest_ids, v_rest_ranks, v_rest_open,
                v_rest_accounts
            from (
                select
                    sides.place,
                    best.symbol_key,
                    best.side,
                    best.ctid as row_address,
                    best.order_id,
                    best.price_rank,
                    best.open_shares,
                    best.account_key
                from unnest(v_side_keys, v_side_reaches, v_side_depths, v_quoted_ranks, v_quoted_ids)
                    with ordinality as sides (side_key, reach, depth, quoted_rank, quoted_id, place)
                cross join lateral (
                    select
                        resting_orders.ctid,
                        resting_orders.symbol_key,
                        resting_orders.side,
                        resting_orders.order_id,
                        resting_orders.price_rank,
                        resting_orders.open_shares,
                        resting_orders.account_key
                    from exchange.resting_orders
                    where
                        resting_orders.symbol_key = exchange.side_key_symbol(sides.side_key)
                        and resting_orders.side = exchange.side_key_side(sides.side_key)
                        and (resting_orders.price_rank, resting_orders.order_id)
                        >= (coalesce(sides.quoted_rank, '-Infinity'), coalesce(sides.quoted_id, 0))
                        and resting_orders.price_rank <= sides.reach
                    order by resting_orders.price_rank, resting_orders.order_id
                    limit sides.depth
                ) as best
            ) as resting;
        end if;
        v_rest_loaded := v_rest_open;
        v_next := array_fill(null::integer, array[coalesce(cardinality(v_rest_ids), 0)]);
        v_first := array_fill(null::integer, array[cardinality(v_side_keys)]);
        v_last_rank := v_first;
        for v_rest in 1 .. coalesce(cardinality(v_rest_ids), 0) loop
            v_side := v_rest_side_places[v_rest];
            if v_first[v_side] is null then
                v_first[v_side] := v_rest;
            else
                v_next[v_rest - 1] := v_rest;
            end if;
            if v_rest - v_first[v_side] + 1 = v_side_depths[v_side] then
                v_last_rank[v_side] := v_rest_ranks[v_rest];
            end if;
        end loop;
        v_first_loaded := v_first;
        v_spare_depth := v_spare_depth * 4;

        -- 3. Match.
        v_fill_orders := '{}';
        v_fill_rests := '{}';
        v_fill_shares := '{}';
        v_fill_credited := '{}';
        while i <= c_count loop
            if v_codes[i] is not null then
                i := i + 1;
                continue;
            end if;
            v_account := width_bucket(v_account_keys[i], v_accounts);
            v_position := width_bucket(v_position_keys[i], v_positions);

            -- Reserve the most that the order can cost, unless that is done and only the loaded book ran out.
            if v_open is null then
                if v_buying[i] then
                    v_money := v_shares[i] * v_limits[i];
                    if v_cash[v_account] < v_money then
                        v_codes[i] := 'insufficient_funds';
                        v_messages[i] := format(
                            'insufficient funds: %s needed, %s available', trim_scale(v_money), trim_scale(v_cash[v_account])
                        );
                        i := i + 1;
                        continue;
                    end if;
                    v_cash[v_account] := v_cash[v_account] - v_money;
                else
                    if coalesce(v_held[v_position], 0) < v_shares[i] then
                        v_codes[i] := 'insufficient_shares';
                        v_messages[i] := format(
                            'insufficient shares of %s: %s needed, %s available',
                            v_syms[i], trim_scale(v_shares[i]), trim_scale(coalesce(v_held[v_position], 0))
                        );
                        i := i + 1;
                        continue;
                    end if;
                    v_held[v_position] := v_held[v_position] - v_shares[i];
                end if;
                v_order_ids[i] := nextval('exchange.order_ids');
                v_open := v_shares[i];
            end if;

            -- Fill against the best resting order as long as its price is within this order's limit.
            v_side := width_bucket(exchange.side_key(v_symbol_keys[i], not v_buying[i]), v_side_keys);
            v_rest := v_first[v_side];
            while v_open > 0 and v_rest_ranks[v_rest] <= v_reaches[i] loop
                v_fill := least(v_open, v_rest_open[v_rest]);
                v_open := v_open - v_fill;
                v_rest_open[v_rest] := v_rest_open[v_rest] - v_fill;
                v_fill_orders := v_fill_orders || i;
                v_fill_rests := v_fill_rests || v_rest;
                v_fill_shares := v_fill_shares || v_fill;

                -- The price is the resting order's limit. What the other party gets waits in credits, unless it has
                -- orders in this run too: then its next order can use it.
                v_money := v_fill * abs(v_rest_ranks[v_rest]);
                if v_buying[i] then
                    v_held[v_position] := coalesce(v_held[v_position], 0) + v_fill;
                    v_cash[v_account] := v_cash[v_account] + v_fill * v_limits[i] - v_money;
                    v_credited := width_bucket(v_rest_accounts[v_rest], v_accounts);
                    if v_accounts[v_credited] = v_rest_accounts[v_rest] and v_balance_rows[v_credited] is not null then
                        v_cash[v_credited] := v_cash[v_credited] + v_money;
                    else
                        v_credited := null;
                    end if;
                else
                    v_cash[v_account] := v_cash[v_account] + v_money;
                    v_credited := width_bucket(exchange.position_key(v_rest_accounts[v_rest], v_symbol_keys[i]), v_positions);
                    if v_positions[v_credited] = exchange.position_key(v_rest_accounts[v_rest], v_symbol_keys[i]) then
                        v_held[v_credited] := coalesce(v_held[v_credited], 0) + v_fill;
                    else
                        v_credited := null;
                    end if;
                end if;
                v_fill_credited := v_fill_credited || v_credited;

                if v_rest_open[v_rest] = 0 then
                    v_rest := v_next[v_rest];
                end if;
            end loop;
            v_first[v_side] := v_rest;

            -- The loaded part of the book is used up and there may be more: write, and load again for this order.
            exit when v_open > 0 and v_rest is null and v_last_rank[v_side] is not null;

            -- Rest what is open; for later orders of this run it stands behind everything as good or better.
            if v_open > 0 then
                v_rest_ids := v_rest_ids || v_order_ids[i];
                v_rest := cardinality(v_rest_ids);
                v_rest_symbols[v_rest] := v_symbol_keys[i];
                v_rest_sides[v_rest] := exchange.side_of(v_buying[i]);
                v_rest_ranks[v_rest] := -v_reaches[i];
                v_rest_open[v_rest] := v_open;
                v_rest_accounts[v_rest] := v_account_keys[i];
                v_side := width_bucket(exchange.side_key(v_symbol_keys[i], v_buying[i]), v_side_keys);
                if v_side_reaches[v_side] is null then
                    -- No order of this run takes from this side, so only its best order matters.
                    if v_first[v_side] is null or -v_reaches[i] < v_rest_ranks[v_first[v_side]] then
                        v_first[v_side] := v_rest;
                    end if;
                elsif (v_last_rank[v_side] > -v_reaches[i]) is not false then
                    v_before := null;
                    v_next[v_rest] := v_first[v_side];
                    while v_rest_ranks[v_next[v_rest]] <= -v_reaches[i] loop
                        v_before := v_next[v_rest];
                        v_next[v_rest] := v_next[v_before];
                    end loop;
                    if v_before is null then
                        v_first[v_side] := v_rest;
                    else
                        v_next[v_before] := v_rest;
                    end if;
                end if;
            end if;
            v_open := null;
            i := i + 1;
        end loop;

        -- 4. Write. Fills first, and what they owe the other parties.
        if cardinality(v_fill_orders) > 0 then
            insert into exchange.executions
            (symbol_key, buy_order_id, sell_order_id, shares, price, buy_limit, sell_limit, executed_at)
            select
                v_symbol_keys[fill.i],
                case when v_buying[fill.i] then v_order_ids[fill.i] else v_rest_ids[fill.rest] end,
                case when v_buying[fill.i] then v_rest_ids[fill.rest] else v_order_ids[fill.i] end,
                fill.shares,
                abs(v_rest_ranks[fill.rest]),
                case when v_buying[fill.i] then v_limits[fill.i] else -v_rest_ranks[fill.rest] end,
                case when v_buying[fill.i] then v_rest_ranks[fill.rest] else v_limits[fill.i] end,
                c_now
            from unnest(v_fill_orders, v_fill_rests, v_fill_shares) as fill (i, rest, shares);

            insert into exchange.credits (account_key, symbol_key, shares, cash)
            select
                v_rest_accounts[fill.rest],
                v_symbol_keys[fill.i],
                sum(case when v_buying[fill.i] then 0 else fill.shares end),
                sum(case when v_buying[fill.i] then fill.shares * v_rest_ranks[fill.rest] else 0 end)
            from unnest(v_fill_orders, v_fill_rests, v_fill_shares, v_fill_credited) as fill (i, rest, shares, credited)
            where fill.credited is null
            group by 1, 2;

            -- Nobody else changes rows of a locked symbol, so each is still where it was read.
            delete from exchange.resting_orders
            using generate_series(1, cardinality(v_rest_loaded)) as n
            where v_rest_open[n] = 0 and resting_orders.ctid = v_rest_rows[n];

            update exchange.resting_orders
            set open_shares = v_rest_open[n]
            from generate_series(1, cardinality(v_rest_loaded)) as n
            where v_rest_open[n] > 0 and v_rest_open[n] < v_rest_loaded[n] and resting_orders.ctid = v_rest_rows[n];
        end if;

        insert into exchange.resting_orders (symbol_key, side, price_rank, order_id, account_key, open_shares)
        select
            v_rest_symbols[n],
            v_rest_sides[n],
            v_rest_ranks[n],
            v_rest_ids[n],
            v_rest_accounts[n],
            v_rest_open[n]
        from generate_series(coalesce(cardinality(v_rest_loaded), 0) + 1, cardinality(v_rest_ids)) as n
        where v_rest_open[n] > 0;

        -- The best order of a book side is known here, unless all that was loaded of it is used up.
        v_new_best := array_fill(null::integer, array[cardinality(v_side_keys)]);
        v_unsure := '{}';
        for v_side in 1 .. cardinality(v_side_keys) loop
            v_rest := v_first[v_side];
            if v_first_loaded[v_side] is null and v_quoted_ids[v_side] is not null then
                -- There was nothing within reach: the last quote stands, unless a better order rests there now.
                if v_rest_ranks[v_rest] < v_quoted_ranks[v_side] then
                    v_new_best[v_side] := v_rest;
                end if;
            elsif v_rest_ranks[v_rest] <= coalesce(v_last_rank[v_side], v_side_reaches[v_side]) then
                if v_rest_ids[v_rest] is distinct from v_quoted_ids[v_side] then
                    v_new_best[v_side] := v_rest;
                end if;
            elsif v_first_loaded[v_side] is not null or v_rest is not null then
                v_unsure := v_unsure || coalesce(v_first_loaded[v_side], v_rest);
            end if;
        end loop;

        insert into exchange.quotes (symbol_key, side, price_rank, order_id, quoted_at)
        select
            v_rest_symbols[best],
            v_rest_sides[best],
            v_rest_ranks[best],
            v_rest_ids[best],
            c_now
        from unnest(v_new_best) as best
        where best is not null;

        if cardinality(v_unsure) > 0 then
            perform exchange.quote(
                array_agg(v_rest_symbols[n]), array_agg(v_rest_sides[n]), array_agg(v_rest_ranks[n]),
                array_agg(v_rest_ids[n]), c_now
            )
            from unnest(v_unsure) as n;
        end if;
    end loop;

    -- If vacuum can't keep up, spare the next runs what this one stepped over. By now every order of this run rests that ever
    -- will: see note_book_hints.
    v_stepped_over := v_stepped_over + exchange.count_stepped_over();
    if v_stepped_over > 50 + 4 * c_count then
        perform exchange.note_book_hints(array_agg(touched.symbol_key), array_agg(touched.side), c_now)
        from (
            select
                placed.symbol_key,
                sides.side
            from unnest(v_symbol_keys) as placed (symbol_key)
            cross join unnest(array['buy', 'sell']::exchange.side[]) as sides (side)
            where placed.symbol_key is not null
        ) as touched;
    end if;

    insert into exchange.orders (order_id, account_key, symbol_key, side, shares, limit_price, placed_at)
    select
        v_order_ids[n],
        v_account_keys[n],
        v_symbol_keys[n],
        exchange.side_of(v_buying[n]),
        v_shares[n],
        v_limits[n],
        c_now
    from generate_series(1, c_count) as n
    where v_order_ids[n] is not null;

    update exchange.balances
    set
        cash = v_cash[n],
        settled_before = c_settled_before,
        changes = balances.changes + 1,
        generation = exchange.generation(balances.changes + 1)
    from generate_series(1, cardinality(v_accounts)) as n
    where v_cash[n] <> v_cash_before[n] and balances.ctid = v_balance_rows[n];

    update exchange.positions
    set
        shares = v_held[n],
        changes = positions.changes + 1,
        generation = exchange.generation(positions.changes + 1)
    from generate_series(1, cardinality(v_positions)) as n
    where v_held[n] <> v_held_before[n] and positions.ctid = v_position_rows[n];

    if array_position(v_position_rows, null) is not null then
        insert into exchange.positions (account_key, symbol_key, shares)
        select
            exchange.position_key_account(v_positions[n]),
            exchange.position_key_symbol(v_positions[n]),
            v_held[n]
        from generate_series(1, cardinality(v_positions)) as n
        where v_position_rows[n] is null and v_held[n] is not null;
    end if;

    return query
    select
        p_places[asked.place],
        case when v_codes[asked.place] is null then 'opened' else 'refused' end,
        v_order_ids[asked.place],
        null::numeric,
        null::numeric,
        null::timestamptz,
        v_codes[asked.place],
        case
            when v_codes[asked.place] is not null
                then coalesce(
                    v_messages[asked.place],
                    exchange.refusal(v_codes[asked.place], asked.account_id, asked.sym, asked.amount, asked.limit_price)
                )
        end
    from unnest(p_requests) with ordinality as asked (
        sequence, action, account_id, sym, amount, limit_price, order_id, certificate_name, place
    );
end
$$;

comment on function exchange.place_orders(integer[], exchange.request[], bigint) is
'Places a run of orders in the order given: reserves cash or shares, fills by price-time priority at the resting '
'order''s limit, rests what stays open. The caller holds the locks of all symbols and accounts: use place_order.';

revoke all on function exchange.place_orders(integer[], exchange.request[], bigint) from public;
