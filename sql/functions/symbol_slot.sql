-- The advisory lock that guards a symbol.
--
-- Symbols share 256 slots, so that however many symbols a batch names, it takes at most 256 locks and the server's
-- lock table can't run out. Two symbols of one slot merely wait for each other. The slot comes from the text, so that
-- a symbol that does not exist yet can be locked as well.
create or replace function exchange.symbol_slot(p_sym text)
returns integer
language sql
immutable
parallel safe
return hashtext(p_sym) & 255;

comment on function exchange.symbol_slot(text) is
'The slot, 0 to 255, of the advisory lock that guards a symbol: pg_locks shows it as objid, with classid 5000.';

revoke all on function exchange.symbol_slot(text) from public;
