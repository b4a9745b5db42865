-- The slots of the symbols in which requests change orders that rest already: by cancelling, reducing or replacing them. An order's
-- symbol never changes, so it can be read before it is locked.
create or replace function exchange.changed_slots(p_requests exchange.request[])
returns integer[]
language plpgsql
stable
as $$
begin
    return array(
        select owned.symbol_slot
        from unnest(p_requests) as asked
        cross join lateral exchange.account_order(
            asked.account_id,
            asked.order_id,
            case asked.action when 'replace_order' then (asked.terms).of_ref else (asked.terms).ref end
        ) as owned
        where asked.action in ('cancel_order', 'reduce_order', 'reduce_order_to', 'replace_order')
        union all
        select exchange.symbol_slot(resting.symbol_key)
        from unnest(p_requests) as asked
        cross join lateral exchange.resting_of(asked.account_id, asked.sym) as resting
        where asked.action in ('cancel_all', 'fire_switch')
    );
end
$$;

comment on function exchange.changed_slots(exchange.request[]) is
'The slots of the locks of the symbols in which these requests cancel, reduce or replace what rests there.';

revoke all on function exchange.changed_slots(exchange.request[]) from public;
