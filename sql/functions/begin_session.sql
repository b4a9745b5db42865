-- Begins a session that will reserve: from now on, and as long as it lives, its incoming orders are its own (see
-- give_back_orphans). What an earlier session with this process number has left is given back.
create or replace function exchange.begin_session()
returns bigint
language plpgsql
security definer
set search_path = exchange, pg_temp
as $$
begin
    -- Waits for nobody but one who gives back what that earlier session has left.
    perform pg_advisory_lock(5002, pg_backend_pid());
    return exchange.give_back_sessions(array[pg_backend_pid()]);
end
$$;

comment on function exchange.begin_session() is
'Marks this database session as one that reserves (reserve_orders), for as long as it lives. Returns how many incoming orders of '
'an earlier session with its process number were given back.';

revoke all on function exchange.begin_session() from public;
grant execute on function exchange.begin_session() to exchange_gateway;
