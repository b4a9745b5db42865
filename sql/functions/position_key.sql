-- One number for a position, to find it by binary search in a run of orders. Simple enough to be inlined.
--
-- The identity columns of accounts and symbols stop at 2^35 and 2^28, so that both keys fit into one bigint.
create or replace function exchange.position_key(p_account_key bigint, p_symbol_key bigint)
returns bigint
language sql
immutable
parallel safe
return p_account_key << 28 | p_symbol_key;

comment on function exchange.position_key(bigint, bigint) is
'The account and the symbol of a position in one number. Ascends with the account first.';

revoke all on function exchange.position_key(bigint, bigint) from public;
