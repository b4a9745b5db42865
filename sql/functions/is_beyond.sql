-- Whether a request goes beyond the base protocol. Simple enough to be inlined.
create or replace function exchange.is_beyond(p_action text, p_terms exchange.terms)
returns boolean
language sql
immutable
parallel safe
return case
    when not (p_terms is null) then true
    when p_action = 'place_order' then false
    else p_action in (
        'replace_order', 'reduce_order', 'reduce_order_to', 'cancel_all', 'arm_switch', 'disarm_switch', 'fire_switch',
        'look_account', 'list_orders', 'look_book'
    )
end;

comment on function exchange.is_beyond(text, exchange.terms) is
'Whether a request has terms, or asks for anything but to create, place, query and cancel.';

revoke all on function exchange.is_beyond(text, exchange.terms) from public;
