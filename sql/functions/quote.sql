-- Quotes the best order of each side of the book where something happened.
--
-- The arguments name orders that were at the top of their side or may be now. The best order of a side is then the first one
-- from there, or from where the last quote was, whichever comes first. The caller holds the symbols' locks.
--
-- PL/pgSQL, although it is one statement: before PostgreSQL 18 a function in SQL is planned at each call.
create or replace function exchange.quote(
    p_symbol_keys bigint[],
    p_sides exchange.side[],
    p_price_ranks numeric[],
    p_order_ids bigint[],
    p_now timestamptz
)
returns void
language plpgsql
as $$
begin
    with changed as (
        select distinct on (touched.symbol_key, touched.side)
            touched.symbol_key,
            touched.side,
            touched.price_rank,
            touched.order_id
        from unnest(p_symbol_keys, p_sides, p_price_ranks, p_order_ids)
            as touched (symbol_key, side, price_rank, order_id)
        order by touched.symbol_key, touched.side, touched.price_rank, touched.order_id
    )

    insert into exchange.quotes (symbol_key, side, price_rank, order_id, quoted_at)
    select
        changed.symbol_key,
        changed.side,
        coalesce(best.price_rank, 'Infinity'),
        coalesce(best.order_id, 0),
        p_now
    from changed
    left join lateral (
        select
            quotes.price_rank,
            quotes.order_id
        from exchange.quotes
        where quotes.symbol_key = changed.symbol_key and quotes.side = changed.side
        order by quotes.quote_id desc
        limit 1
    ) as quoted on true
    cross join lateral (
        select
            (quoted.price_rank, quoted.order_id) <= (changed.price_rank, changed.order_id) as is_first
    ) as last_quote
    left join lateral exchange.first_orders(
        changed.symbol_key,
        changed.side,
        case when last_quote.is_first then quoted.price_rank else changed.price_rank end,
        case when last_quote.is_first then quoted.order_id else changed.order_id end,
        'Infinity',
        1
    ) as best on true
    where (coalesce(best.price_rank, 'Infinity'), coalesce(best.order_id, 0)) is distinct from (quoted.price_rank, quoted.order_id);
end
$$;

comment on function exchange.quote(bigint[], exchange.side[], numeric[], bigint[], timestamptz) is
'Adds to quotes the best order of each side of the book that is named, where it is not the last one quoted. Named are '
'orders placed, filled or cancelled there. The caller holds the symbols'' locks.';

revoke all on function exchange.quote(bigint[], exchange.side[], numeric[], bigint[], timestamptz) from public;
