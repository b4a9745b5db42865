-- What the client is told of an order beside its id, from what is kept of it: so it is told the same when it asks again.
create or replace function exchange.opened_parts(p_terms exchange.order_terms)
returns table (
    outcome text,
    order_id bigint,
    shares numeric
)
language plpgsql
immutable
as $$
begin
    if p_terms.replaced_order_id is not null then
        return query select 'replaced', p_terms.replaced_order_id, p_terms.released_shares::numeric;
    end if;
    if p_terms.executed_shares is not null then
        return query
        values
        ('filled', null::bigint, p_terms.executed_shares::numeric),
        ('canceled', null, p_terms.canceled_shares::numeric);
    end if;
    return query
    select
        'passed',
        passed.order_id,
        null::numeric
    from unnest(p_terms.passed_order_ids) with ordinality as passed (order_id, place)
    order by passed.place;
end
$$;

comment on function exchange.opened_parts(exchange.order_terms) is
'What the answer to an order says beside opened and its id: replaced (the old order''s id, and the shares that were released), '
'filled and canceled (shares, at once), and passed (the id of an own order that was cancelled), one row for each.';

revoke all on function exchange.opened_parts(exchange.order_terms) from public;
