-- Returns the best levels of the books of some symbols, of those that have changed since the caller last looked.
--
-- One statement, so one snapshot: both sides of a book, and its seq, are of one instant. No account asks, and none is told.
create or replace function exchange.look_levels(p_syms text[], p_seqs bigint[], p_depth integer)
returns table (
    sym text,
    seq bigint,
    halted boolean,
    side exchange.side,
    price numeric,
    shares numeric,
    orders bigint
)
language sql
stable
security definer
set search_path = exchange, pg_temp
as $$
with changed as (
    select
        symbols.symbol_key,
        symbols.sym,
        symbols.halted_at is not null as halted,
        coalesce(newest.seq, 0) as seq,
        newest.bid_rank,
        newest.bid_id,
        newest.ask_rank,
        newest.ask_id
    from rows from (unnest(p_syms), unnest(p_seqs)) as asked (sym, seq)
    inner join exchange.symbols on asked.sym = symbols.sym
    left join lateral exchange.newest_update(symbols.symbol_key) as newest on true
    where coalesce(newest.seq, 0) is distinct from asked.seq
),

told as (
    select
        changed.sym,
        changed.seq,
        changed.halted,
        null::exchange.side as side,
        null::numeric as price_rank,
        null::numeric as shares,
        null::bigint as orders
    from changed
    union all
    select
        changed.sym,
        changed.seq,
        changed.halted,
        sides.side,
        best.price_rank,
        best.shares,
        best.orders
    from changed
    cross join lateral (
        values
        ('buy'::exchange.side, changed.bid_rank, changed.bid_id),
        ('sell'::exchange.side, changed.ask_rank, changed.ask_id)
    ) as sides (side, best_rank, best_id)
    cross join lateral exchange.best_levels(
        changed.symbol_key, sides.side, sides.best_rank, sides.best_id, least(greatest(p_depth, 0), 1000)
    ) as best
)

select
    told.sym,
    told.seq,
    told.halted,
    told.side,
    trim_scale(abs(told.price_rank)) as price,
    trim_scale(told.shares) as shares,
    told.orders
from told
order by told.sym, told.side nulls first, told.price_rank
$$;

comment on function exchange.look_levels(text[], bigint[], integer) is
'The books of symbols: for each first a row without a side, then the best p_depth levels (1,000 at most) of the buys and of the sells, '
'best first, with their open shares and how many orders. Of a symbol whose newest update still is the one in its place in p_seqs, nothing; '
'nor of one that is not there.';

revoke all on function exchange.look_levels(text[], bigint[], integer) from public;
grant execute on function exchange.look_levels(text[], bigint[], integer) to exchange_gateway, exchange_reader;
