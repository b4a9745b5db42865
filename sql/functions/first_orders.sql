-- The first orders of a side of the book, found by a hint if there is a fresh one (see book_hints).
--
-- With a hint, it reads the orders of the hint's levels, then those placed since, and only then what lies beyond, so that it
-- visits few orders that are long gone. Their ids, in the index, tell those placed since: PostgreSQL 18 jumps from rank to rank;
-- older versions pass all entries there, which is still cheaper than visiting the rows they lead to.
--
-- The caller knows that nothing rests before p_from_rank and p_from_id, and holds the symbol's lock. p_reach is not null.
create or replace function exchange.first_orders(
    p_symbol_key bigint,
    p_side exchange.side,
    p_from_rank numeric,
    p_from_id bigint,
    p_reach numeric,
    p_count integer
)
returns table (
    row_address tid,
    price_rank numeric,
    order_id bigint,
    open_shares numeric,
    account_key bigint
)
language plpgsql
as $$
#variable_conflict use_column
declare
    v_hint record;
    v_found integer := 0;
begin
    select
        book_hints.seen_id,
        book_hints.seen_at,
        book_hints.end_rank,
        book_hints.level_ranks,
        book_hints.level_ids
    into v_hint
    from exchange.book_hints
    where book_hints.symbol_key = p_symbol_key and book_hints.side = p_side
    order by book_hints.seen_id desc
    limit 1;

    if p_from_rank <= v_hint.end_rank and v_hint.seen_at between clock_timestamp() - interval '10 seconds' and clock_timestamp() then
        return query
        select
            resting.row_address,
            resting.price_rank,
            resting.order_id,
            resting.open_shares,
            resting.account_key
        from unnest(v_hint.level_ranks, v_hint.level_ids) as levels (price_rank, first_id)
        cross join lateral (
            select
                resting_orders.ctid as row_address,
                resting_orders.price_rank,
                resting_orders.order_id,
                resting_orders.open_shares,
                resting_orders.account_key
            from exchange.resting_orders
            where
                resting_orders.symbol_key = p_symbol_key
                and resting_orders.side = p_side
                and resting_orders.price_rank = levels.price_rank
                and resting_orders.order_id >= levels.first_id
                and resting_orders.order_id <= v_hint.seen_id
            order by resting_orders.order_id
            limit p_count
        ) as resting
        where levels.price_rank >= p_from_rank and levels.price_rank <= p_reach
        union all
        (
            select
                resting_orders.ctid,
                resting_orders.price_rank,
                resting_orders.order_id,
                resting_orders.open_shares,
                resting_orders.account_key
            from exchange.resting_orders
            where
                resting_orders.symbol_key = p_symbol_key
                and resting_orders.side = p_side
                and resting_orders.price_rank >= p_from_rank
                and resting_orders.price_rank <= least(p_reach, v_hint.end_rank)
                and resting_orders.order_id > v_hint.seen_id
            order by resting_orders.price_rank, resting_orders.order_id
            limit p_count
        )
        order by price_rank, order_id
        limit p_count;

        get diagnostics v_found = row_count;
        p_from_rank := v_hint.end_rank;
        p_from_id := 9223372036854775807;
    end if;

    if v_found < p_count and p_from_rank <= p_reach then
        return query
        select
            resting_orders.ctid,
            resting_orders.price_rank,
            resting_orders.order_id,
            resting_orders.open_shares,
            resting_orders.account_key
        from exchange.resting_orders
        where
            resting_orders.symbol_key = p_symbol_key
            and resting_orders.side = p_side
            and (resting_orders.price_rank, resting_orders.order_id) >= (p_from_rank, p_from_id)
            and resting_orders.price_rank <= p_reach
        order by resting_orders.price_rank, resting_orders.order_id
        limit p_count - v_found;
    end if;
end
$$;

comment on function exchange.first_orders(bigint, exchange.side, numeric, bigint, numeric, integer) is
'The first p_count orders of a side of the book, in the order of the match, up to the rank p_reach. p_from_rank and p_from_id '
'tell from where on: nothing may rest before them. The caller holds the symbol''s lock.';

revoke all on function exchange.first_orders(bigint, exchange.side, numeric, bigint, numeric, integer) from public;
