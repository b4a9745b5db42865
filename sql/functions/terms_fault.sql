-- Why a request is refused for its terms alone: what is spelt wrongly, then what contradicts itself or is missing.
create or replace function exchange.terms_fault(p_request exchange.request)
returns text
language sql
immutable
parallel safe
return case
    when (p_request).terms.budget is not null and not ((p_request).terms.budget > 0 and exchange.is_number((p_request).terms.budget))
        then 'invalid_budget'
    when (p_request).terms.ref !~ '^[A-Za-z0-9._:-]{1,64}$' then 'invalid_ref'
    when exchange.contradiction(p_request) is not null then 'invalid_terms'
    when (p_request).terms.if_open is not null and not ((p_request).terms.if_open >= 0 and exchange.is_number((p_request).terms.if_open))
        then 'invalid_open'
end;

comment on function exchange.terms_fault(exchange.request) is
'The code of why the terms of a request are refused before anything is looked up; null where they are sound.';

revoke all on function exchange.terms_fault(exchange.request) from public;
