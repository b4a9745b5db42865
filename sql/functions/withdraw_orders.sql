-- Gives back what is reserved for incoming orders that nobody will have matched: match_orders has failed on them, or their session is
-- gone. Named by id, as there; what each of them is stands in the table. One that was matched or given back before is left out.
create or replace function exchange.withdraw_orders(p_incoming_ids bigint[])
returns bigint
language plpgsql
security definer
set search_path = exchange, pg_temp
as $$
declare
    v_incoming exchange.incoming_orders[];
begin
    -- Read as they lie in the table, so in the order of all who take rows there. A match that has one of them is waited for.
    with deleted as (
        delete from exchange.incoming_orders
        where incoming_orders.incoming_id = any(p_incoming_ids)
        returning incoming_orders as incoming
    )

    select array_agg(deleted.incoming)
    into v_incoming
    from deleted;

    return exchange.give_back(v_incoming);
end
$$;

comment on function exchange.withdraw_orders(bigint[]) is
'Gives back what is reserved for these incoming orders, and returns how many they were: none of them happens any more. For a gateway '
'that match_orders has failed, and for give_back_sessions.';

revoke all on function exchange.withdraw_orders(bigint[]) from public;
grant execute on function exchange.withdraw_orders(bigint[]) to exchange_gateway;
