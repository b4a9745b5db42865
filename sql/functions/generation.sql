-- The generation of a row of balances or positions after this many changes. Simple enough to be inlined.
create or replace function exchange.generation(p_changes bigint)
returns bigint
language sql
immutable
parallel safe
return p_changes / 16;

comment on function exchange.generation(bigint) is
'The generation of a row of balances or positions that has been changed so often: it counts up with every 16th change.';

revoke all on function exchange.generation(bigint) from public;
