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
                marked.sequence,
                case when marked.waits then 'later' else marked.action end,
                marked.account_id,
                marked.sym,
                marked.amount,
                marked.limit_price,
                marked.order_id,
                marked.certificate_name,
                marked.terms
            )::exchange.request
        from (
            select
                asked.*,
                bool_or(asked.place = any(p_places)) over (partition by asked.sequence order by asked.place)
                or (surveyed.is_whole and bool_or(asked.place = any(p_places)) over (partition by asked.sequence)) as waits
            from unnest(p_requests) with ordinality as asked (
                sequence, action, account_id, sym, amount, limit_price, order_id, certificate_name, terms, place
            )
            inner join exchange.survey(p_requests) as surveyed on asked.place = surveyed.place
        ) as marked
        order by marked.place
    );
end
$$;

comment on function exchange.mark_later(exchange.request[], integer[]) is
'The requests of a batch, with another action at these places, and for what follows them in their sequences; for all of a sequence '
'that is done whole (survey).';

revoke all on function exchange.mark_later(exchange.request[], integer[]) from public;
