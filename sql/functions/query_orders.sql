-- Returns the state of orders: what is open or was cancelled, then every reduction, then every execution, oldest first.
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
        request.action,
        request.order_id as asked_id,
        request.terms,
        owned.order_id,
        owned.side,
        owned.symbol_key,
        owned.price_rank
    from rows from (unnest(p_places), unnest(p_requests)) as request (
        place, sequence, action, account_id, sym, amount, limit_price, order_id, certificate_name, terms
    )
    left join lateral exchange.account_order(request.account_id, request.order_id, (request.terms).ref) as owned on true
),

answers as (
    select
        asked.request,
        part.kind,
        part.place,
        part.outcome,
        asked.order_id,
        part.shares,
        part.price,
        part.at,
        null as code,
        null as message
    from asked
    cross join lateral exchange.order_parts(asked.order_id, asked.symbol_key, asked.side, asked.price_rank) as part
    union all
    select
        asked.request,
        0 as kind,
        0 as place,
        'refused' as outcome,
        asked.asked_id as order_id,
        null as shares,
        null as price,
        null as at,
        refused.code,
        exchange.refusal(
            refused.code, (null, asked.action, null, null, null, null, asked.asked_id, null, asked.terms)::exchange.request
        ) as message
    from asked
    cross join lateral (select exchange.unknown_order(asked.asked_id, (asked.terms).ref) as code) as refused
    where asked.order_id is null
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
order by answers.request, answers.kind, answers.place
$$;

comment on function exchange.query_orders(integer[], exchange.request[]) is
'The state of orders, each asked for by an account: at most one row open or canceled, one row for each reduction and then for each '
'execution, oldest first; refused where the account has no such order. Use query_order for one.';

revoke all on function exchange.query_orders(integer[], exchange.request[]) from public;
