-- Gives back what is reserved for the incoming orders of these sessions, which the caller knows to be gone.
create or replace function exchange.give_back_sessions(p_session_pids integer[])
returns bigint
language plpgsql
as $$
begin
    if cardinality(p_session_pids) = 0 then
        return 0::bigint;
    end if;
    return exchange.withdraw_orders(
        array(
            select incoming_orders.incoming_id
            from exchange.incoming_orders
            where incoming_orders.session_pid = any(p_session_pids)
        )
    );
end
$$;

comment on function exchange.give_back_sessions(integer[]) is
'Gives back what is reserved for the incoming orders of these sessions, which are gone, and returns how many they were. Use '
'give_back_orphans.';

revoke all on function exchange.give_back_sessions(integer[]) from public;
