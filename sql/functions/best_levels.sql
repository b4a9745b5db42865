-- Returns the best levels of one side of a book, as it stands in the index: simple enough to be inlined.
--
-- It begins at the order that the newest update tells as the side's best, for nothing rests before that.
create or replace function exchange.best_levels(
    p_symbol_key bigint,
    p_side exchange.side,
    p_best_rank numeric,
    p_best_id bigint,
    p_depth integer
)
returns table (
    price_rank numeric,
    shares numeric,
    orders bigint
)
language sql
stable
as $$
select
    resting_orders.price_rank,
    sum(resting_orders.open_shares) as shares,
    count(*) as orders
from exchange.resting_orders
where
    resting_orders.symbol_key = p_symbol_key
    and resting_orders.side = p_side
    and (resting_orders.price_rank, resting_orders.order_id)
    >= (coalesce(p_best_rank, '-Infinity'), coalesce(p_best_id, 0))
group by resting_orders.price_rank
order by resting_orders.price_rank
limit p_depth
$$;

comment on function exchange.best_levels(bigint, exchange.side, numeric, bigint, integer) is
'The best p_depth levels of one side of a symbol''s book: price rank, open shares and how many orders. It reads no further than that. '
'p_best_rank and p_best_id are what the newest update tells of the side, or null.';

revoke all on function exchange.best_levels(bigint, exchange.side, numeric, bigint, integer) from public;
