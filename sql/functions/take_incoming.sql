-- Takes incoming orders out of incoming_orders, for the match: those whose symbol's lock the caller holds.
--
-- Each is found where p_addresses says, if it is there; else, which is rare, by its id alone. One that a transaction under way
-- gives back is waited for: it is gone then, unless that transaction fails. Who gives back takes rows in the order in which they
-- lie in the table, and so does this, so that no two wait for each other.
create or replace function exchange.take_incoming(
    p_incoming_ids bigint[],
    p_addresses tid[],
    p_locked_slots integer[],
    out places integer[],
    out incoming exchange.incoming_orders[]
)
language plpgsql
as $$
begin
    with asked as (
        select
            named.incoming_id,
            named.address,
            named.place
        from unnest(p_incoming_ids, p_addresses) with ordinality as named (incoming_id, address, place)
        order by named.address
    ),

    taken as (
        delete from exchange.incoming_orders
        using asked
        where
            incoming_orders.ctid = asked.address
            and incoming_orders.incoming_id = asked.incoming_id
            and exchange.symbol_slot(incoming_orders.symbol_key) = any(p_locked_slots)
        returning
            asked.place,
            incoming_orders as incoming
    )

    select
        coalesce(array_agg(taken.place::integer order by taken.place), '{}'),
        coalesce(array_agg(taken.incoming order by taken.place), '{}')
    into places, incoming
    from taken;

    if cardinality(places) = cardinality(p_incoming_ids) then
        return;
    end if;

    with taken as (
        delete from exchange.incoming_orders
        where
            incoming_orders.incoming_id = any(p_incoming_ids)
            and exchange.symbol_slot(incoming_orders.symbol_key) = any(p_locked_slots)
        returning incoming_orders as incoming
    ),

    found as (
        select
            array_position(p_incoming_ids, (taken.incoming).incoming_id) as place,
            taken.incoming
        from taken
        union all
        select
            places[n],
            incoming[n]
        from generate_series(1, cardinality(places)) as n
    )

    select
        coalesce(array_agg(found.place order by found.place), '{}'),
        coalesce(array_agg(found.incoming order by found.place), '{}')
    into places, incoming
    from found;
end
$$;

comment on function exchange.take_incoming(bigint[], tid[], integer[]) is
'Deletes these rows of incoming_orders whose symbols are locked, and returns them in the order named, each with its place there. '
'p_addresses tells where they are; null where that isn''t known.';

revoke all on function exchange.take_incoming(bigint[], tid[], integer[]) from public;
