-- How large and how precise a number may be: is_number in words, for refusals.
create or replace function exchange.number_rule()
returns text
language sql
immutable
parallel safe
return 'at most 18 digits before and 20 after the point';

comment on function exchange.number_rule() is
'What is_number holds, in words, for the text of a refusal.';

revoke all on function exchange.number_rule() from public;
