-- The advisory lock that guards a symbol. Simple enough to be inlined.
--
-- Symbols share 64 slots: as many as there can be lanes that match side by side. So a batch takes at most 64 locks, however
-- many symbols it names. Two symbols in one slot merely wait for each other. Keys are given one after the other, so the
-- first 64 symbols have a slot each.
create or replace function exchange.symbol_slot(p_symbol_key bigint)
returns integer
language sql
immutable
parallel safe
return (p_symbol_key & 63)::integer;

comment on function exchange.symbol_slot(bigint) is
'The slot, 0 to 63, of the advisory lock that guards a symbol: pg_locks shows it as objid, with classid 5000.';

revoke all on function exchange.symbol_slot(bigint) from public;
