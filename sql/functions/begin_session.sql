-- Begins a session that will reserve: from now on, and as long as it lives, its incoming orders are its own (see
-- give_back_orphans). What an earlier session with this process number has left is given back.
create or replace function exchange.begin_session()
returns bigint
language plpgsql
security definer
set search_path = exchange, pg_temp
as $$
declare
    v_incoming exchange.incoming_orders[];
begin
    -- Waits for nobody but one who gives back what that earlier session has left.
    perform pg_advisory_lock(5002, pg_backend_pid());

    with deleted as (
        delete from exchange.incoming_orders
        where incoming_orders.session_pid = pg_backend_pid()
        returning incoming_orders as incoming
    )

    select array_agg(deleted.incoming)
    into v_incoming
    from deleted;

    return exchange.give_back(v_incoming);
end
$$;

comment on function exchange.begin_session() is
'Marks this database session as one that reserves (reserve_orders), for as long as it lives. Returns how many incoming orders of '
'an earlier session with its process number were given back.';

revoke all on function exchange.begin_session() from public;
grant execute on function exchange.begin_session() to exchange_gateway;
