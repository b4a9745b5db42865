-- Ends a halt. The book is as the halt left it, and no order in it crosses another, so there is nothing to match.
create or replace function exchange.resume_symbol(
    p_sym text,
    out outcome text,
    out code text,
    out message text
)
language plpgsql
security definer
set search_path = exchange, pg_temp
as $$
declare
    v_symbol_key bigint;
    v_halted_at timestamptz;
begin
    -- Lock 2 of 3: the symbol.
    perform exchange.lock_symbols(array_agg(exchange.symbol_slot(symbols.symbol_key)))
    from exchange.symbols
    where symbols.sym = p_sym;

    select
        symbols.symbol_key,
        symbols.halted_at
    into v_symbol_key, v_halted_at
    from exchange.symbols
    where symbols.sym = p_sym;

    if v_symbol_key is null then
        outcome := 'refused';
        code := 'unknown_symbol';
        message := exchange.refusal(code, (null, null, null, p_sym, null, null, null, null, null)::exchange.request);
        return;
    end if;
    if v_halted_at is not null then
        update exchange.symbols
        set halted_at = null
        where symbols.symbol_key = v_symbol_key;
        perform exchange.note_trading('resume', v_symbol_key, clock_timestamp());
    end if;
    outcome := 'resumed';
    message := format('%s can be traded', p_sym);
end
$$;

comment on function exchange.resume_symbol(text) is
'Lets a symbol be traded again; does nothing where it was not halted. One row: resumed, or refused with the reason.';

revoke all on function exchange.resume_symbol(text) from public;
