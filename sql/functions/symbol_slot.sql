-- The advisory lock that guards a symbol.
--
-- Symbols share 256 slots. So a batch takes at most 256 locks, however many symbols it names, and the server's lock
-- table can't overflow. Two symbols in one slot merely wait for each other. The slot is derived from the text, so that
-- even a symbol that does not exist yet can be locked.
create or replace function exchange.symbol_slot(p_sym text)
returns integer
language sql
immutable
parallel safe
return hashtext(p_sym) & 255;

comment on function exchange.symbol_slot(text) is
'The slot, 0 to 255, of the advisory lock that guards a symbol: pg_locks shows it as objid, with classid 5000.';

revoke all on function exchange.symbol_slot(text) from public;
