-- Carries out changes beyond the base protocol one after the other: a later one finds what an earlier one has left.
create or replace function exchange.change_one_by_one(
    p_places integer[],
    p_requests exchange.request[],
    p_held exchange.held_locks
)
returns setof exchange.answer
language plpgsql
as $$
declare
    v_place integer;
    v_request exchange.request;
begin
    -- What is handed on is copied for each request.
    p_held.balances := null;
    for n in 1 .. cardinality(p_places) loop
        v_place := p_places[n];
        v_request := p_requests[n];
        case v_request.action
            when 'replace_order' then
                return query
                select replaced.*
                from exchange.replace_one(v_place, v_request, p_held) as replaced;
            when 'reduce_order', 'reduce_order_to' then
                return query
                select reduced.*
                from exchange.reduce_one(v_place, v_request, p_held) as reduced;
            when 'cancel_all', 'fire_switch' then
                return query
                select canceled.*
                from exchange.cancel_all_of_one(v_place, v_request, p_held) as canceled;
            else
                return next exchange.set_switch(v_place, v_request);
        end case;
    end loop;
end
$$;

comment on function exchange.change_one_by_one(integer[], exchange.request[], exchange.held_locks) is
'Carries out a run of replace_order, reduce_order, reduce_order_to, cancel_all, arm_switch, disarm_switch and fire_switch in the order '
'given. The caller holds the locks of symbols and accounts.';

revoke all on function exchange.change_one_by_one(integer[], exchange.request[], exchange.held_locks) from public;
