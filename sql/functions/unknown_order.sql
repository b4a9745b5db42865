-- Why account_order has found no order. Simple enough to be inlined.
create or replace function exchange.unknown_order(p_order_id bigint, p_ref text)
returns text
language sql
immutable
parallel safe
return case when p_order_id is not null and p_ref is not null then 'invalid_terms' else 'unknown_order' end;

comment on function exchange.unknown_order(bigint, text) is
'The code of why an order that is named so was not found: invalid_terms where it is named twice, or else unknown_order.';

revoke all on function exchange.unknown_order(bigint, text) from public;
