-- Lists accounts' open orders, by id: those after one, of one symbol or of all, so many at most.
--
-- It is one statement, so one snapshot, and needs no lock.
create or replace function exchange.list_orders_of(p_places integer[], p_requests exchange.request[])
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
        request.order_id as after_id,
        owner.account_key,
        traded.symbol_key,
        exchange.rows_asked(request.amount, 1000) as most
    from rows from (unnest(p_places), unnest(p_requests)) as request (
        place, sequence, action, account_id, sym, amount, limit_price, order_id, certificate_name, terms
    )
    left join lateral (
        select accounts.account_key from exchange.accounts where accounts.account_id = request.account_id offset 0
    ) as owner on true
    left join lateral (
        select symbols.symbol_key from exchange.symbols where symbols.sym = request.sym offset 0
    ) as traded on true
),

-- One more than are asked for tells whether there are more.
listed as (
    select
        asked.request,
        asked.most,
        row_number() over (partition by asked.request order by resting.order_id) as place,
        resting.order_id,
        resting.symbol_key,
        resting.side,
        resting.price_rank,
        resting.open_shares
    from asked
    cross join lateral (
        select
            resting_orders.order_id,
            resting_orders.symbol_key,
            resting_orders.side,
            resting_orders.price_rank,
            resting_orders.open_shares
        from exchange.resting_orders
        where
            resting_orders.account_key = asked.account_key
            and resting_orders.order_id > coalesce(asked.after_id, 0)
            and (asked.sym is null or resting_orders.symbol_key = asked.symbol_key)
        order by resting_orders.order_id
        limit asked.most + 1
    ) as resting
    where asked.most is not null
),

answers as (
    select
        asked.request,
        0 as place,
        case when refused.code is null then 'orders' else 'refused' end as outcome,
        null::bigint as order_id,
        null::numeric as shares,
        null::numeric as price,
        null::timestamptz as at,
        refused.code,
        exchange.refusal(
            refused.code, (null, null, asked.account_id, null, asked.amount, null, null, null, null)::exchange.request
        ) as message,
        null::text as sym,
        null::numeric as amount,
        null::text as ref
    from asked
    cross join lateral (
        select case when asked.account_key is null then 'unknown_account' when asked.most is null then 'invalid_max' end as code
    ) as refused
    union all
    select
        listed.request,
        listed.place,
        'order' as outcome,
        listed.order_id,
        trim_scale(listed.open_shares) as shares,
        trim_scale(abs(listed.price_rank)) as price,
        placed.placed_at as at,
        null as code,
        null as message,
        traded.sym,
        trim_scale(case listed.side when 'buy' then placed.shares else -placed.shares end) as amount,
        said.ref
    from listed
    cross join lateral (
        select symbols.sym from exchange.symbols where symbols.symbol_key = listed.symbol_key offset 0
    ) as traded
    left join lateral (
        select
            orders.shares,
            orders.placed_at
        from exchange.orders
        where orders.order_id = listed.order_id
        offset 0
    ) as placed on true
    left join lateral (
        select order_terms.ref from exchange.order_terms where order_terms.order_id = listed.order_id offset 0
    ) as said on true
    where listed.place <= listed.most
    union all
    select
        listed.request,
        listed.place,
        'more' as outcome,
        null, null, null, null, null, null, null, null, null
    from listed
    where listed.place > listed.most
)

select
    answers.request,
    answers.outcome,
    answers.order_id,
    answers.shares,
    answers.price,
    answers.at,
    answers.code,
    answers.message,
    answers.sym,
    answers.amount,
    answers.ref
from answers
order by answers.request, answers.place
$$;

comment on function exchange.list_orders_of(integer[], exchange.request[]) is
'The open orders of accounts: a row orders; then a row order for each, by id (amount: as placed, below 0 for a sell; price: the limit; '
'shares: open; at: when it was placed); then a row more if there are more than the request''s amount. Refused where there is no such '
'account. Use list_orders for one.';

revoke all on function exchange.list_orders_of(integer[], exchange.request[]) from public;
