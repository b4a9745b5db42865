-- Marks requests that need a lock which somebody else holds, and all that follows them in their sequence: their action becomes
-- later, which does nothing.
create or replace function exchange.mark_later(p_requests exchange.request[], p_places integer[])
returns exchange.request[]
language plpgsql
immutable
as $$
begin
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
                bool_or(asked.place = any(p_places)) over (partition by asked.sequence order by asked.place) as waits
            from unnest(p_requests) with ordinality as asked (
                sequence, action, account_id, sym, amount, limit_price, order_id, certificate_name, terms, place
            )
        ) as marked
        order by marked.place
    );
end
$$;

comment on function exchange.mark_later(exchange.request[], integer[]) is
'The requests of a batch, with another action at these places, and for what follows them in their sequences.';

revoke all on function exchange.mark_later(exchange.request[], integer[]) from public;
