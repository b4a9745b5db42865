-- Checks that the book is not crossed, that its rows agree with the orders they name, and that book_hints are true.
create or replace function exchange.check_book()
returns table (
    invariant text,
    subject text,
    detail text
)
language sql
stable
as $$
with best as (
    select distinct on (resting_orders.symbol_key, resting_orders.side)
        resting_orders.symbol_key,
        resting_orders.side,
        resting_orders.price_rank,
        resting_orders.order_id
    from exchange.resting_orders
    order by resting_orders.symbol_key, resting_orders.side, resting_orders.price_rank, resting_orders.order_id
),

repeated as (
    select
        resting_orders.order_id,
        count(*) as times
    from exchange.resting_orders
    group by resting_orders.order_id
    having count(*) > 1
)

select
    'book_is_not_crossed',
    format('symbol %s', coalesce(symbols.sym, 'with key ' || bid.symbol_key)),
    format(
        'order %s buys at %s and order %s sells at %s',
        bid.order_id, trim_scale(-bid.price_rank), ask.order_id, trim_scale(ask.price_rank)
    )
from best as bid
inner join best as ask on bid.symbol_key = ask.symbol_key
left join exchange.symbols on bid.symbol_key = symbols.symbol_key
where bid.side = 'buy' and ask.side = 'sell' and -bid.price_rank >= ask.price_rank
union all
select
    'resting_order_agrees_with_order',
    format('order %s', orders.order_id),
    format(
        'in the book: symbol %s, %s at %s, account %s; as placed: symbol %s, %s at %s, account %s (keys)',
        resting_orders.symbol_key, resting_orders.side, trim_scale(abs(resting_orders.price_rank)), resting_orders.account_key,
        orders.symbol_key, orders.side, trim_scale(orders.limit_price), orders.account_key
    )
from exchange.resting_orders
inner join exchange.orders on resting_orders.order_id = orders.order_id
where
    resting_orders.symbol_key <> orders.symbol_key
    or resting_orders.account_key <> orders.account_key
    or resting_orders.side <> orders.side
    or abs(resting_orders.price_rank) is distinct from orders.limit_price
    or (resting_orders.price_rank < 0) <> (resting_orders.side = 'buy')
union all
select
    'order_rests_once',
    format('order %s', repeated.order_id),
    format('is in the book %s times', repeated.times)
from repeated
union all
select
    'book_hint_is_true',
    format('order %s', resting_orders.order_id),
    format(
        'rests at the rank %s; the hint on orders up to %s and ranks up to %s has the levels %s and their first orders %s',
        trim_scale(resting_orders.price_rank), book_hints.seen_id, trim_scale(book_hints.end_rank), book_hints.level_ranks, book_hints.level_ids
    )
from exchange.book_hints
inner join exchange.resting_orders
    on
        book_hints.symbol_key = resting_orders.symbol_key
        and book_hints.side = resting_orders.side
        and book_hints.seen_id >= resting_orders.order_id
        and book_hints.end_rank >= resting_orders.price_rank
where
    not exists (
        select
        from unnest(book_hints.level_ranks, book_hints.level_ids) as levels (price_rank, first_id)
        where levels.price_rank = resting_orders.price_rank and levels.first_id <= resting_orders.order_id
    )
$$;

comment on function exchange.check_book() is
'A row for each symbol whose best buy could trade with its best sell, and each resting order that is not as it was '
'placed or that a book hint leaves out. Part of check_integrity.';

revoke all on function exchange.check_book() from public;
grant execute on function exchange.check_book() to exchange_reader;
