-- Whether two orders say the same beyond symbol, amount and limit, however they say it. A limit order that says no tif is GTC; a
-- market order is IOC then. Simple enough to be inlined.
create or replace function exchange.is_same(p_terms exchange.terms, p_others exchange.terms)
returns boolean
language sql
immutable
parallel safe
return coalesce((p_terms).type, 'limit') = coalesce((p_others).type, 'limit')
and (p_terms).budget is not distinct from (p_others).budget
and coalesce(
    (p_terms).tif, case (p_terms).type when 'market' then 'IOC'::exchange.time_in_force else 'GTC'::exchange.time_in_force end
) = coalesce(
    (p_others).tif, case (p_others).type when 'market' then 'IOC'::exchange.time_in_force else 'GTC'::exchange.time_in_force end
)
and coalesce((p_terms).post, false) = coalesce((p_others).post, false)
and (p_terms).stp is not distinct from (p_others).stp;

comment on function exchange.is_same(exchange.terms, exchange.terms) is
'Whether the terms of two orders mean the same, but for ref and what they replace.';

revoke all on function exchange.is_same(exchange.terms, exchange.terms) from public;
