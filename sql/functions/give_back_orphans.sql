-- Gives back what is reserved for incoming orders whose session is gone: a session that lives holds the advisory lock
-- (5002, its pid). Nobody was told of these orders, and nobody will match them.
create or replace function exchange.give_back_orphans()
returns bigint
language plpgsql
security definer
set search_path = exchange, pg_temp
as $$
declare
    v_gone constant integer[] := array(
        select sessions.session_pid
        from (select distinct incoming_orders.session_pid from exchange.incoming_orders) as sessions
        where sessions.session_pid <> pg_backend_pid() and pg_try_advisory_xact_lock(5002, sessions.session_pid)
    );
begin
    return exchange.give_back_sessions(v_gone);
end
$$;

comment on function exchange.give_back_orphans() is
'Gives back what is reserved for incoming orders whose session is gone, and returns how many they were. For a regular sweep, and '
'after a restore.';

revoke all on function exchange.give_back_orphans() from public;
grant execute on function exchange.give_back_orphans() to exchange_gateway;
