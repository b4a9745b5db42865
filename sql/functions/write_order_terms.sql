-- Writes what the orders of a match say beyond symbol, shares and limit, and what became of them at once.
create or replace function exchange.write_order_terms(
    p_incoming exchange.incoming_orders[],
    p_order_ids bigint[],
    p_ends exchange.order_end[],
    p_replaced_order_id bigint,
    p_released_shares numeric
)
returns exchange.order_terms[]
language plpgsql
as $$
declare
    v_written exchange.order_terms[];
begin
    with written as (
        insert into exchange.order_terms (
            order_id, account_key, ref, type, budget, tif, post, stp,
            replaced_order_id, released_shares, executed_shares, canceled_shares, passed_order_ids
        )
        select
            p_order_ids[incoming.ordinality],
            incoming.account_key,
            (incoming.terms).ref,
            (incoming.terms).type,
            (incoming.terms).budget,
            (incoming.terms).tif,
            coalesce((incoming.terms).post, false),
            (incoming.terms).stp,
            p_replaced_order_id,
            p_released_shares,
            ends.executed,
            ends.canceled,
            ends.passed
        from unnest(p_incoming) with ordinality as incoming
        -- Of an order that is post only, and says no more, the client is told nothing.
        left join unnest(p_ends) as ends
            on
                incoming.ordinality = ends.place
                and not ((incoming.terms).tif is null and (incoming.terms).type is null and (incoming.terms).stp is null)
        where p_order_ids[incoming.ordinality] is not null and incoming.terms is distinct from null
        order by incoming.ordinality
        returning order_terms as terms
    )

    select array_agg(written.terms)
    into v_written
    from written;
    return v_written;
end
$$;

comment on function exchange.write_order_terms(exchange.incoming_orders[], bigint[], exchange.order_end[], bigint, numeric) is
'Adds to order_terms those incoming orders that have terms and have got an id, with what became of them at once, and returns what it '
'added. The last two arguments are of a replace, which has one incoming order: the old order''s id, and what was open of it.';

revoke all on function exchange.write_order_terms(
    exchange.incoming_orders[], bigint[], exchange.order_end[], bigint, numeric
) from public;
