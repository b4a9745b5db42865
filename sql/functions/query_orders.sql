-- Returns the state of orders: what is open or was cancelled, then every execution, oldest first.
--
-- It is one statement, so one snapshot: what it says of an order adds up even while others trade. It needs no lock.
create or replace function exchange.query_orders(p_places integer[], p_requests exchange.request[])
returns setof exchange.answer
language sql
stable
as $$
with asked as (
    select
        request.place as request,
        request.order_id,
        owned.side,
        owned.symbol_key,
        owned.price_rank
    from rows from (unnest(p_places), unnest(p_requests)) as request (
        place, sequence, action, account_id, sym, amount, limit_price, order_id, certificate_name, terms
    )
    left join lateral exchange.account_order(request.account_id, request.order_id) as owned on true
),

parts as (
    select
        asked.request,
        0 as place,
        'open' as outcome,
        asked.order_id,
        resting_orders.open_shares as shares,
        null::numeric as price,
        null::timestamptz as at
    from asked
    inner join exchange.resting_orders
        on
            asked.symbol_key = resting_orders.symbol_key
            and asked.side = resting_orders.side
            and asked.price_rank = resting_orders.price_rank
            and asked.order_id = resting_orders.order_id
    union all
    select
        asked.request,
        0 as place,
        'canceled' as outcome,
        asked.order_id,
        canceled.shares,
        null as price,
        canceled.canceled_at as at
    from asked
    cross join lateral (
        select
            cancellations.shares,
            cancellations.canceled_at
        from exchange.cancellations
        where cancellations.order_id = asked.order_id
        offset 0
    ) as canceled
    where asked.side is not null
    union all
    select
        asked.request,
        executions.execution_id as place,
        'executed' as outcome,
        asked.order_id,
        executions.shares,
        executions.price,
        executions.executed_at as at
    from asked
    inner join exchange.executions on asked.order_id = executions.buy_order_id
    where asked.side = 'buy'
    union all
    select
        asked.request,
        executions.execution_id as place,
        'executed' as outcome,
        asked.order_id,
        executions.shares,
        executions.price,
        executions.executed_at as at
    from asked
    inner join exchange.executions on asked.order_id = executions.sell_order_id
    where asked.side = 'sell'
),

answers as (
    select
        parts.request,
        parts.place,
        parts.outcome,
        parts.order_id,
        parts.shares,
        parts.price,
        parts.at,
        null as code,
        null as message
    from parts
    union all
    select
        asked.request,
        0 as place,
        'refused' as outcome,
        asked.order_id,
        null as shares,
        null as price,
        null as at,
        'unknown_order' as code,
        format('no such order: %s', asked.order_id) as message
    from asked
    where asked.side is null
)

select
    answers.request,
    answers.outcome,
    answers.order_id,
    trim_scale(answers.shares),
    trim_scale(answers.price),
    answers.at,
    answers.code,
    answers.message,
    null::text,
    null::numeric,
    null::text
from answers
order by answers.request, answers.place
$$;

comment on function exchange.query_orders(integer[], exchange.request[]) is
'The state of orders, each asked for by an account: at most one row open or canceled, one row for each execution, '
'oldest first; refused where the account has no such order. Use query_order for one.';

revoke all on function exchange.query_orders(integer[], exchange.request[]) from public;
