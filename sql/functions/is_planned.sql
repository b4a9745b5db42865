-- Whether the match plans an order to its end before it trades: one that says more than a ref. Simple enough to be inlined.
create or replace function exchange.is_planned(p_terms exchange.terms)
returns boolean
language sql
immutable
parallel safe
return (p_terms).tif is not null or (p_terms).type is not null or (p_terms).stp is not null or coalesce((p_terms).post, false);

comment on function exchange.is_planned(exchange.terms) is
'Whether an order with these terms says any of tif, type, stp and post, so that the match plans it before it trades.';

revoke all on function exchange.is_planned(exchange.terms) from public;
