-- Takes a symbol out of trading. Orders that rest in its book stay there and can be cancelled.
create or replace function exchange.halt_symbol(
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
    v_halted_at timestamptz; -- before
begin
    -- Lock 2 of 3: the symbol. A transaction that matches holds it, and the next one to get it sees the halt.
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
    if v_halted_at is null then
        v_halted_at := clock_timestamp();
        update exchange.symbols
        set halted_at = v_halted_at
        where symbols.symbol_key = v_symbol_key;
        perform exchange.note_trading('halt', v_symbol_key, v_halted_at);
    end if;
    outcome := 'halted';
    message := format(
        'trading of %s has been halted since %s; resting orders stay and can be cancelled; resume_symbol ends the halt',
        p_sym, date_trunc('second', v_halted_at)
    );
end
$$;

comment on function exchange.halt_symbol(text) is
'Halts trading of a symbol: once this has returned no order of it is matched, and new ones are refused (symbol_halted) until '
'resume_symbol. Resting orders stay and can be queried and cancelled. One row: halted, or refused with the reason.';

revoke all on function exchange.halt_symbol(text) from public;
