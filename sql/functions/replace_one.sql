-- Places an order in the place of another one, of the same symbol and side: cancels what is open of the old one, so that what was
-- reserved for it can pay for the new one, and places that as any order. Both or neither: if the new one is refused, the
-- subtransaction in which both were done is rolled back, and the old one was never touched.
create or replace function exchange.replace_one(p_place integer, p_request exchange.request, p_held exchange.held_locks)
returns setof exchange.answer
language plpgsql
as $$
declare
    v_found exchange.replacement;
    v_answers exchange.answer[];
begin
    v_found := exchange.resolve_replace(p_request, p_held);
    if v_found.code = 'duplicate' then
        return query
        select
            p_place,
            told.outcome,
            told.order_id,
            told.shares,
            null::numeric,
            null::timestamptz,
            null::text,
            null::text,
            case when told.outcome = 'opened' then (v_found.new_order).sym end,
            null::numeric,
            null::text
        from exchange.answer_terms(array[v_found.reserved]) as told;
        return;
    end if;

    if v_found.code is not null then
        return next (
            p_place, 'refused', null, null, null, null, v_found.code, v_found.message, null, null, null
        )::exchange.answer;
        return;
    end if;

    begin
        perform exchange.end_orders(array[v_found.old_order], clock_timestamp());
        v_answers := array(
            select placed
            from exchange.place_orders(
                array[p_place], array[v_found.new_order], p_held, (v_found.old_order).order_id, (v_found.old_order).open_shares
            ) as placed
        );
        if v_answers[1].outcome <> 'opened' then
            raise exception 'the new order is refused'
                using errcode = 'EX004';
        end if;
    exception
        when sqlstate 'EX004' then
            null;
    end;
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
        case when answer.outcome = 'opened' then (v_found.new_order).sym end,
        answer.amount,
        answer.ref
    from unnest(v_answers) as answer;
end
$$;

comment on function exchange.replace_one(integer, exchange.request, exchange.held_locks) is
'Carries out one replace_order: rows as place_orders gives them, with replaced behind opened; or refused, and nothing has happened. The '
'caller holds the locks of the symbol and the account.';

revoke all on function exchange.replace_one(integer, exchange.request, exchange.held_locks) from public;
