-- Creates a symbol, so that it can be traded. One that exists stays as it is.
create or replace function exchange.create_symbol(
    p_sym text,
    out outcome text,
    out code text,
    out message text
)
language plpgsql
security definer
set search_path = exchange, pg_temp
as $$
begin
    -- Lock 1 of 3: creation. Others that create wait here, so a unique violation can't happen.
    perform pg_advisory_xact_lock(5001, 0);

    if (p_sym ~ '^[A-Za-z0-9]{1,255}$') is not true then
        outcome := 'refused';
        code := 'invalid_symbol';
        message := format('symbol %s is not allowed: 1 to 255 ASCII letters and digits', left(coalesce(p_sym, 'null'), 40));
        return;
    end if;

    insert into exchange.symbols (sym, created_at)
    select
        p_sym,
        clock_timestamp()
    where not exists (select from exchange.symbols where symbols.sym = p_sym);

    outcome := 'created';
end
$$;

comment on function exchange.create_symbol(text) is
'Makes a symbol known. One row: created, also where it existed, or refused with the reason.';

revoke all on function exchange.create_symbol(text) from public;
grant execute on function exchange.create_symbol(text) to exchange_gateway;
