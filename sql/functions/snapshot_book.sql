-- Returns the whole book of a symbol, order by order, and the number of the update after which it was so.
--
-- The function is stable, so all its queries see what the statement that calls it sees: one snapshot. Each side is read from the
-- order that the newest update tells as its best: nothing rests before that, and index entries of orders long gone may.
create or replace function exchange.snapshot_book(p_symbol_key bigint)
returns table (
    seq bigint,
    halted boolean,
    order_id bigint,
    side exchange.side,
    price numeric,
    shares numeric
)
language plpgsql
stable
security definer
set search_path = exchange, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
#variable_conflict use_column
declare
    v_bid_rank numeric;
    v_bid_id bigint;
    v_ask_rank numeric;
    v_ask_id bigint;
begin
    select
        coalesce(newest.seq, 0),
        symbols.halted_at is not null,
        coalesce(newest.bid_rank, '-Infinity'),
        coalesce(newest.bid_id, 0),
        coalesce(newest.ask_rank, '-Infinity'),
        coalesce(newest.ask_id, 0)
    into seq, halted, v_bid_rank, v_bid_id, v_ask_rank, v_ask_id
    from exchange.symbols
    left join lateral exchange.newest_update(symbols.symbol_key) as newest on true
    where symbols.symbol_key = p_symbol_key;

    if not found then
        return;
    end if;
    return next;

    return query
    select
        null::bigint,
        null::boolean,
        resting_orders.order_id,
        resting_orders.side,
        trim_scale(-resting_orders.price_rank),
        trim_scale(resting_orders.open_shares)
    from exchange.resting_orders
    where
        resting_orders.symbol_key = p_symbol_key
        and resting_orders.side = 'buy'
        and (resting_orders.price_rank, resting_orders.order_id) >= (v_bid_rank, v_bid_id)
    order by resting_orders.price_rank, resting_orders.order_id;

    return query
    select
        null::bigint,
        null::boolean,
        resting_orders.order_id,
        resting_orders.side,
        trim_scale(resting_orders.price_rank),
        trim_scale(resting_orders.open_shares)
    from exchange.resting_orders
    where
        resting_orders.symbol_key = p_symbol_key
        and resting_orders.side = 'sell'
        and (resting_orders.price_rank, resting_orders.order_id) >= (v_ask_rank, v_ask_id)
    order by resting_orders.price_rank, resting_orders.order_id;
end
$$;

comment on function exchange.snapshot_book(bigint) is
'The book of a symbol, order by order: first a row with the number of its newest update (0 where there is none) and whether trading is '
'halted, and nothing else; then all resting orders in the order in which they would be matched, buys first. All of it is of one '
'moment: what read_updates returns after that seq leads on from here. No row where there is no such symbol.';

revoke all on function exchange.snapshot_book(bigint) from public;
grant execute on function exchange.snapshot_book(bigint) to exchange_gateway, exchange_reader;
