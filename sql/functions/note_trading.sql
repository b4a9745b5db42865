-- Notes in the updates of a symbol that trading was halted, or goes on. The caller holds the symbol's lock.
create or replace function exchange.note_trading(p_kind exchange.event_kind, p_symbol_key bigint, p_now timestamptz)
returns void
language plpgsql
as $$
begin
    perform exchange.write_updates(
        array[row(p_kind, null, p_symbol_key, null, null, null, null, null, null, null, null, null)::exchange.run_event], null, null, p_now
    );
end
$$;

comment on function exchange.note_trading(exchange.event_kind, bigint, timestamptz) is
'Adds an update with the event halt or resume. The caller holds the symbol''s lock.';

revoke all on function exchange.note_trading(exchange.event_kind, bigint, timestamptz) from public;
