-- What the orders of a run that have terms are answered behind opened, from what is kept of them; and all that those are answered that
-- were placed before, under their refs: what the first one was, and duplicate.
--
-- p_order_ids are the ids that the match gave to those that were reserved, in their order.
create or replace function exchange.answer_terms(p_orders exchange.reservation[], p_order_ids bigint[] default null)
returns table (
    place integer,
    outcome text,
    order_id bigint,
    shares numeric
)
language plpgsql
stable
as $$
begin
    return query
    select
        placed.place,
        part.outcome,
        part.order_id,
        trim_scale(part.shares)
    from (
        select
            asked.place,
            coalesce(asked.code = 'duplicate', false) as is_duplicate,
            case
                when asked.code is null
                    then p_order_ids[count(*) filter (where asked.code is null) over (order by asked.place)]
                when asked.code = 'duplicate' then asked.order_id
            end as order_id
        from unnest(p_orders) as asked
    ) as placed
    cross join lateral (
        select order_terms as kept
        from exchange.order_terms
        where
            order_terms.order_id = placed.order_id
            and (placed.is_duplicate or exchange.tells_more(order_terms))
        offset 0
    ) as terms
    cross join lateral (
        select
            'opened' as outcome,
            placed.order_id,
            null::numeric as shares,
            0 as ordinality
        where placed.is_duplicate
        union all
        select
            told.outcome,
            told.order_id,
            told.shares,
            told.ordinality
        from exchange.opened_parts(terms.kept) with ordinality as told
        union all
        select
            'duplicate',
            null,
            null,
            null
        where placed.is_duplicate
    ) as part
    order by placed.place, part.ordinality;
end
$$;

comment on function exchange.answer_terms(exchange.reservation[], bigint[]) is
'What is answered of the terms of orders, by their places in the run: behind opened what opened_parts says; of an order that was placed '
'before all of its answer, and duplicate. p_order_ids are of those that were reserved.';

revoke all on function exchange.answer_terms(exchange.reservation[], bigint[]) from public;
