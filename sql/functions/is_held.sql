-- Whether a batch may trade in a symbol: it holds the lock, or has created the symbol itself. Simple enough to be inlined.
create or replace function exchange.is_held(p_held exchange.held_locks, p_symbol_key bigint)
returns boolean
language sql
immutable
parallel safe
return case
    when p_symbol_key > (p_held).own_symbols_after then true
    when p_symbol_key is not null then exchange.symbol_slot(p_symbol_key) = any((p_held).symbol_slots)
end;

comment on function exchange.is_held(exchange.held_locks, bigint) is
'Whether a batch that holds these locks may trade in a symbol; null where there is no symbol, or no lock of any is held.';

revoke all on function exchange.is_held(exchange.held_locks, bigint) from public;
