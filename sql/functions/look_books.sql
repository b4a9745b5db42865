-- Returns the best levels of symbols' books: for each price its open shares and how many orders they are of.
--
-- It is one statement, so one snapshot: the two sides are of one instant. It needs no lock, and reads no further than it tells.
create or replace function exchange.look_books(p_places integer[], p_requests exchange.request[])
returns setof exchange.answer
language sql
stable
as $$
with asked as (
    select
        request.place as request,
        request.account_id,
        request.sym,
        request.amount,
        traded.symbol_key,
        traded.halted_at,
        newest.seq,
        newest.bid_rank,
        newest.bid_id,
        newest.ask_rank,
        newest.ask_id,
        case
            when owner.account_key is null then 'unknown_account'
            when exchange.rows_asked(request.amount, 10) is null then 'invalid_depth'
            when traded.symbol_key is null then 'unknown_symbol'
        end as code,
        exchange.rows_asked(request.amount, 10) as depth
    from rows from (unnest(p_places), unnest(p_requests)) as request (
        place, sequence, action, account_id, sym, amount, limit_price, order_id, certificate_name, terms
    )
    left join lateral (
        select accounts.account_key
        from exchange.accounts
        where accounts.account_id = request.account_id
        offset 0
    ) as owner on true
    left join lateral (
        select
            symbols.symbol_key,
            symbols.halted_at
        from exchange.symbols
        where symbols.sym = request.sym
        offset 0
    ) as traded on true
    left join lateral exchange.newest_update(traded.symbol_key) as newest on true
),

levels as (
    select
        asked.request,
        sides.side,
        best.price_rank,
        best.shares,
        best.orders
    from asked
    cross join lateral (
        values
        ('buy'::exchange.side, asked.bid_rank, asked.bid_id),
        ('sell'::exchange.side, asked.ask_rank, asked.ask_id)
    ) as sides (side, best_rank, best_id)
    cross join lateral exchange.best_levels(
        asked.symbol_key, sides.side, sides.best_rank, sides.best_id, asked.depth
    ) as best
    where asked.code is null
),

answers as (
    select
        asked.request,
        null::exchange.side as side,
        0 as price_rank,
        case when asked.code is null then 'book' else 'refused' end as outcome,
        case when asked.code is null then coalesce(asked.seq, 0) end as seq,
        null::numeric as shares,
        null::timestamptz as at,
        asked.code,
        exchange.refusal(
            asked.code, (null, null, asked.account_id, asked.sym, asked.amount, null, null, null, null)::exchange.request
        ) as message,
        null::bigint as orders
    from asked
    union all
    select
        asked.request,
        null as side,
        1 as price_rank,
        'halted' as outcome,
        null as seq,
        null as shares,
        asked.halted_at as at,
        null as code,
        null as message,
        null as orders
    from asked
    where asked.code is null and asked.halted_at is not null
    union all
    select
        levels.request,
        levels.side,
        levels.price_rank,
        case levels.side when 'buy' then 'bid' else 'ask' end as outcome,
        null as seq,
        levels.shares,
        null as at,
        null as code,
        null as message,
        levels.orders
    from levels
)

select
    answers.request,
    answers.outcome,
    answers.seq,
    trim_scale(answers.shares),
    case when answers.side is not null then trim_scale(abs(answers.price_rank)) end,
    answers.at,
    answers.code,
    answers.message,
    null::text,
    answers.orders::numeric,
    null::text
from answers
order by answers.request, answers.side nulls first, answers.price_rank
$$;

comment on function exchange.look_books(integer[], exchange.request[]) is
'The best levels of books: a row book (order_id: the number of the book''s last change, 0 where there is none); a row halted while '
'trading is (at: since when); then bids and asks, best first, so many of each as the request''s amount says (shares: open; amount: how '
'many orders). Refused where there is no such account or symbol. Use look_book for one.';

revoke all on function exchange.look_books(integer[], exchange.request[]) from public;
