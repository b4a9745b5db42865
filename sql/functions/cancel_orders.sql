-- Ends the open part of orders and gives back what was reserved for it.
--
-- Orders of symbols that aren't among the held locks don't exist for the caller: they were placed after it took its locks.
create or replace function exchange.cancel_orders(
    p_places integer[],
    p_requests exchange.request[],
    p_held exchange.held_locks
)
returns setof exchange.answer
language plpgsql
as $$
declare
    v_places integer[]; -- the first request for each order
    v_orders exchange.resting_orders[]; -- where each of these would rest
    v_ended bigint[]; -- those that did
    v_canceled integer[]; -- the requests for them
begin
    select
        array_agg(asked.place),
        array_agg(
            (asked.symbol_key, asked.side, asked.price_rank, asked.order_id, asked.account_key, null)::exchange.resting_orders
        )
    into v_places, v_orders
    from (
        select distinct on (owned.order_id)
            request.place,
            owned.order_id,
            owned.account_key,
            owned.symbol_key,
            owned.side,
            owned.price_rank
        from rows from (unnest(p_places), unnest(p_requests)) as request (
            place, sequence, action, account_id, sym, amount, limit_price, order_id, certificate_name, terms
        )
        cross join lateral exchange.account_order(request.account_id, request.order_id, (request.terms).ref) as owned
        where exchange.is_held(p_held, owned.symbol_key)
        order by owned.order_id, request.place
    ) as asked;

    v_ended := array(
        select ended.order_id
        from unnest(exchange.end_orders(v_orders, clock_timestamp())) as ended
    );
    v_canceled := array(
        select asked.place
        from rows from (unnest(v_places), unnest(v_orders)) as asked (
            place, symbol_key, side, price_rank, order_id, account_key, open_shares
        )
        where asked.order_id = any(v_ended)
    );

    -- A cancelled order is answered as a query would answer it. The others keep a query's refusal, or are refused
    -- because nothing of them was open.
    return query
    select answer.*
    from exchange.query_orders(p_places, p_requests) as answer
    where answer.request = any(v_canceled) or answer.outcome = 'refused'
    union all
    select
        request.place,
        'refused',
        owned.order_id,
        null,
        null,
        null,
        refused.code,
        exchange.refusal(
            refused.code, (null, null, null, null, null, null, owned.order_id, null, null)::exchange.request
        ),
        null,
        null,
        null
    from rows from (unnest(p_places), unnest(p_requests)) as request (
        place, sequence, action, account_id, sym, amount, limit_price, order_id, certificate_name, terms
    )
    cross join lateral exchange.account_order(request.account_id, request.order_id, (request.terms).ref) as owned
    cross join lateral (
        select case when exchange.is_held(p_held, owned.symbol_key) then 'nothing_open' else 'unknown_order' end as code
    ) as refused
    where request.place <> all(v_canceled);
end
$$;

comment on function exchange.cancel_orders(integer[], exchange.request[], exchange.held_locks) is
'Ends the open part of orders, each for the account that placed it, and owes the account what was reserved for it. '
'Rows as query_orders gives them, or refused. The caller holds the symbols'' locks: use cancel_order for one.';

revoke all on function exchange.cancel_orders(integer[], exchange.request[], exchange.held_locks) from public;
