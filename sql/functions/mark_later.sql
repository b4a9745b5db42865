-- Marks requests that need a lock which somebody else holds, and all that follows them in their sequence, or the whole sequence if it
-- is done whole: their action becomes later, which does nothing.
create or replace function exchange.mark_later(p_requests exchange.request[], p_places integer[])
returns exchange.request[]
language plpgsql
immutable
as $$
begin
    if cardinality(p_places) = 0 then
        return p_requests;
    end if;

    return array(
        select
            (
                (marked.request).sequence,
                case when marked.waits then 'later' else (marked.request).action end,
                (marked.request).account_id,
                (marked.request).sym,
                (marked.request).amount,
                (marked.request).limit_price,
                (marked.request).order_id,
                (marked.request).certificate_name,
                (marked.request).terms
            )::exchange.request
        from (
            select
                asked.place,
                asked.request,
                bool_or(asked.place = any(p_places)) over (partition by (asked.request).sequence order by asked.place)
                or (asked.is_whole and bool_or(asked.place = any(p_places)) over (partition by (asked.request).sequence)) as waits
            from exchange.survey(p_requests) as asked
        ) as marked
        order by marked.place
    );
end
$$;

comment on function exchange.mark_later(exchange.request[], integer[]) is
'The requests of a batch, with another action at these places, and for what follows them in their sequences; for all of a sequence '
'that is done whole (survey).';

revoke all on function exchange.mark_later(exchange.request[], integer[]) from public;
