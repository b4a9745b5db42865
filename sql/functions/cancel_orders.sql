-- Ends the open part of orders and gives back what was reserved for it.
--
-- Orders of symbols that aren't among the held locks don't exist for the caller: they were placed after it took its locks.
-- The refund is a credit, so the account needs no lock.
create or replace function exchange.cancel_orders(
    p_places integer[],
    p_requests exchange.request[],
    p_held exchange.held_locks
)
returns setof exchange.answer
language plpgsql
as $$
declare
    c_now constant timestamptz := clock_timestamp();
    v_canceled integer[]; -- the requests that ended something: the first for an order, where it has an open part
    v_symbol_keys bigint[];
    v_sides exchange.side[];
    v_price_ranks numeric[];
    v_order_ids bigint[];
    v_stepped_over bigint; -- index entries of the book that led to no order any more
begin
    with asked as (
        select distinct on (request.order_id)
            request.place as request,
            request.order_id,
            owned.account_key,
            owned.symbol_key,
            owned.side,
            owned.limit_price,
            owned.price_rank
        from rows from (unnest(p_places), unnest(p_requests)) as request (
            place, sequence, action, account_id, sym, amount, limit_price, order_id, certificate_name, terms
        )
        cross join lateral exchange.account_order(request.account_id, request.order_id) as owned
        where exchange.is_held(p_held, owned.symbol_key)
        order by request.order_id, request.place
    ),

    ended as (
        delete from exchange.resting_orders
        using asked
        where
            resting_orders.symbol_key = asked.symbol_key
            and resting_orders.side = asked.side
            and resting_orders.price_rank = asked.price_rank
            and resting_orders.order_id = asked.order_id
        returning
            asked.request,
            asked.order_id,
            asked.account_key,
            asked.symbol_key,
            asked.side,
            asked.price_rank,
            asked.limit_price,
            resting_orders.open_shares
    ),

    noted as (
        insert into exchange.cancellations (order_id, shares, canceled_at)
        select
            ended.order_id,
            ended.open_shares,
            c_now
        from ended
    ),

    refunded as (
        insert into exchange.credits (account_key, symbol_key, shares, cash)
        select
            ended.account_key,
            ended.symbol_key,
            case ended.side when 'sell' then ended.open_shares else 0 end,
            case ended.side when 'buy' then ended.open_shares * ended.limit_price else 0 end
        from ended
    )

    select
        coalesce(array_agg(ended.request), '{}'),
        array_agg(ended.symbol_key),
        array_agg(ended.side),
        array_agg(ended.price_rank),
        array_agg(ended.order_id)
    into v_canceled, v_symbol_keys, v_sides, v_price_ranks, v_order_ids
    from ended;

    v_stepped_over := -exchange.count_stepped_over();
    perform exchange.quote(v_symbol_keys, v_sides, v_price_ranks, v_order_ids, c_now);
    v_stepped_over := v_stepped_over + exchange.count_stepped_over();
    if v_stepped_over > 50 + 4 * cardinality(v_canceled) then
        perform exchange.note_book_hints(v_symbol_keys, v_sides, c_now);
    end if;

    -- A cancelled order is answered as a query would answer it. The others keep a query's refusal, or are refused
    -- because nothing of them was open.
    return query
    select
        answer.request,
        answer.outcome,
        answer.order_id,
        answer.shares,
        answer.price,
        answer.at,
        answer.code,
        answer.message,
        null::text,
        null::numeric,
        null::text
    from exchange.query_orders(p_places, p_requests) as answer
    where answer.request = any(v_canceled) or answer.outcome = 'refused'
    union all
    select
        request.place,
        'refused',
        request.order_id,
        null,
        null,
        null,
        case when locked.is_locked then 'nothing_open' else 'unknown_order' end,
        format(
            case when locked.is_locked then 'order %s has no open shares to cancel' else 'no such order: %s' end,
            request.order_id
        ),
        null,
        null,
        null
    from rows from (unnest(p_places), unnest(p_requests)) as request (
        place, sequence, action, account_id, sym, amount, limit_price, order_id, certificate_name, terms
    )
    cross join lateral exchange.account_order(request.account_id, request.order_id) as owned
    cross join lateral (select exchange.is_held(p_held, owned.symbol_key) as is_locked) as locked
    where not request.place = any(v_canceled);
end
$$;

comment on function exchange.cancel_orders(integer[], exchange.request[], exchange.held_locks) is
'Ends the open part of orders, each for the account that placed it, and owes the account what was reserved for it. '
'Rows as query_orders gives them, or refused. The caller holds the symbols'' locks: use cancel_order for one.';

revoke all on function exchange.cancel_orders(integer[], exchange.request[], exchange.held_locks) from public;
