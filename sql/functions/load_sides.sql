-- Tells which sides of the book the incoming orders from p_place on may change, and how much of each the match must load.
--
-- Both sides of each symbol, the buys and then the sells, symbols ascending. A symbol that is halted has none: its lock is held,
-- so it stays halted, or stays not, until the match has ended.
create or replace function exchange.load_sides(
    p_incoming exchange.incoming_orders[],
    p_place integer,
    p_spare_depth integer,
    p_now timestamptz
)
returns exchange.run_side[]
language plpgsql
stable
as $$
begin
    return (
        select coalesce(array_agg(
            row(
                traded.symbol_key,
                sides.side,
                sides.reach,
                sides.takers + p_spare_depth,
                sides.best_rank,
                sides.best_id,
                hint.seen_at between p_now - interval '10 seconds' and p_now
            )::exchange.run_side
        ), '{}')
        from (
            select
                incoming.symbol_key,
                max(coalesce(incoming.limit_price, 'Infinity')) filter (where incoming.side = 'buy') as highest_buy,
                min(coalesce(incoming.limit_price, 0)) filter (where incoming.side = 'sell') as lowest_sell,
                count(*) filter (where incoming.side = 'buy') as buys,
                count(*) filter (where incoming.side = 'sell') as sells
            from unnest(p_incoming) with ordinality as incoming
            where incoming.ordinality >= p_place
            group by incoming.symbol_key
            order by incoming.symbol_key
        ) as traded
        cross join lateral (
            select
            from exchange.symbols
            where symbols.symbol_key = traded.symbol_key and symbols.halted_at is null
            offset 0
        ) as not_halted
        left join lateral (
            select
                updates.bid_rank,
                updates.bid_id,
                updates.ask_rank,
                updates.ask_id
            from exchange.updates
            where updates.symbol_key = traded.symbol_key
            order by updates.seq desc
            limit 1
        ) as newest on true
        -- Sells trade with the buys down to their limit, buys with the sells up to theirs; market orders with all.
        cross join lateral (
            values
            ('buy'::exchange.side, exchange.price_rank('buy', traded.lowest_sell), traded.sells::integer, newest.bid_rank, newest.bid_id),
            ('sell'::exchange.side, exchange.price_rank('sell', traded.highest_buy), traded.buys::integer, newest.ask_rank, newest.ask_id)
        ) as sides (side, reach, takers, best_rank, best_id)
        left join lateral (
            select book_hints.seen_at
            from exchange.book_hints
            where book_hints.symbol_key = traded.symbol_key and book_hints.side = sides.side
            order by book_hints.seen_id desc
            limit 1
        ) as hint on true
    );
end
$$;

comment on function exchange.load_sides(exchange.incoming_orders[], integer, integer, timestamptz) is
'The sides of the book that the incoming orders from p_place on may change: for each symbol its buys, then its sells. None of '
'symbols that are halted. The caller holds the symbols'' locks.';

revoke all on function exchange.load_sides(exchange.incoming_orders[], integer, integer, timestamptz) from public;
