-- Whether opened_parts has anything to say of an order. Simple enough to be inlined.
create or replace function exchange.tells_more(p_terms exchange.order_terms)
returns boolean
language sql
immutable
parallel safe
return (p_terms).replaced_order_id is not null or (p_terms).executed_shares is not null;

comment on function exchange.tells_more(exchange.order_terms) is
'Whether the answer to an order says more than opened and its id: see opened_parts. That of an order with a ref alone does not.';

revoke all on function exchange.tells_more(exchange.order_terms) from public;
