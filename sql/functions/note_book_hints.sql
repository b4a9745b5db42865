-- Notes where the first orders of these sides of the book rest, for matches in the next seconds. See book_hints.
--
-- The caller holds the symbols' locks: none of their orders is placed or removed meanwhile, and later orders get ids beyond the
-- last one drawn.
create or replace function exchange.note_book_hints(
    p_symbol_keys bigint[],
    p_sides exchange.side[],
    p_now timestamptz
)
returns void
language plpgsql
as $$
declare
    v_seen_id bigint;
begin
    -- The last id drawn. If is_called is false, none has been drawn.
    select order_ids.last_value - (not order_ids.is_called)::integer
    into v_seen_id
    from exchange.order_ids;

    with noted as (
        insert into exchange.book_hints (symbol_key, side, seen_id, seen_at, end_rank, level_ranks, level_ids)
        select
            levels.symbol_key,
            levels.side,
            v_seen_id,
            p_now,
            max(levels.price_rank),
            array_agg(levels.price_rank order by levels.price_rank),
            array_agg(levels.first_id order by levels.price_rank)
        from (
            select
                touched.symbol_key,
                touched.side,
                first_orders.price_rank,
                min(first_orders.order_id) as first_id
            from (
                select distinct
                    asked.symbol_key,
                    asked.side
                from unnest(p_symbol_keys, p_sides) as asked (symbol_key, side)
            ) as touched
            cross join lateral (
                select
                    case touched.side when 'buy' then updates.bid_rank else updates.ask_rank end as price_rank,
                    case touched.side when 'buy' then updates.bid_id else updates.ask_id end as order_id
                from exchange.updates
                where updates.symbol_key = touched.symbol_key
                order by updates.seq desc
                limit 1
            ) as best
            cross join lateral exchange.first_orders(
                touched.symbol_key, touched.side, best.price_rank, best.order_id, 'Infinity', 32
            ) as first_orders
            group by touched.symbol_key, touched.side, first_orders.price_rank
        ) as levels
        group by levels.symbol_key, levels.side
        on conflict on constraint book_hints_pkey do nothing
        returning book_hints.symbol_key, book_hints.side
    )

    -- Delete the previous hint of each side: there are no others. A side that is empty now keeps its hint, which is still true.
    delete from exchange.book_hints
    using noted
    cross join lateral (
        select older.ctid as row_address
        from exchange.book_hints as older
        where older.symbol_key = noted.symbol_key and older.side = noted.side and older.seen_id < v_seen_id
        order by older.seen_id desc
        limit 1
    ) as found
    where book_hints.ctid = found.row_address;
end
$$;

comment on function exchange.note_book_hints(bigint[], exchange.side[], timestamptz) is
'Notes where the first 32 orders of each of these sides of the book rest, in place of the hint before. The caller holds the '
'symbols'' locks.';

revoke all on function exchange.note_book_hints(bigint[], exchange.side[], timestamptz) from public;
