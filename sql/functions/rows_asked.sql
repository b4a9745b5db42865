-- How many rows a list may have. Simple enough to be inlined.
--
-- Without between: PostgreSQL keeps this body parsed, and would read its own text of a nested condition back, from a dump, as another one.
create or replace function exchange.rows_asked(p_amount numeric, p_unless_said integer)
returns integer
language sql
immutable
parallel safe
return case
    when p_amount is null then p_unless_said
    when p_amount >= 1 and p_amount <= 1000 and p_amount = trunc(p_amount) then p_amount::integer
end;

comment on function exchange.rows_asked(numeric, integer) is
'How many rows a request asks for, or the number that counts where it says none; null where it says no whole number from 1 to 1000.';

revoke all on function exchange.rows_asked(numeric, integer) from public;
