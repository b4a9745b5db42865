-- Gives an account shares of a symbol; the symbol is created if it is new.
create or replace function exchange.grant_shares(
    p_sym text,
    p_account_id text,
    p_shares numeric,
    out outcome text,
    out code text,
    out message text
)
language plpgsql
security definer
set search_path = exchange, pg_temp
as $$
declare
    v_account_key bigint;
    v_symbol_key bigint;
begin
    -- Lock 1 of 3: creation. The account needs no lock: what it is given is a credit.
    perform pg_advisory_xact_lock(5001, 0);

    outcome := 'refused';
    select accounts.account_key
    into v_account_key
    from exchange.accounts
    where accounts.account_id = p_account_id;

    if v_account_key is null then
        code := 'unknown_account';
        message := exchange.refusal(code, (null, null, p_account_id, null, null, null, null, null, null)::exchange.request);
        return;
    end if;
    if (p_shares > 0 and exchange.is_number(p_shares)) is not true then
        code := 'invalid_amount';
        message := format(
            '%s shares are not allowed: more than 0, %s', coalesce(p_shares::text, 'null'), exchange.number_rule()
        );
        return;
    end if;

    select
        created.outcome,
        created.code,
        created.message
    into outcome, code, message
    from exchange.create_symbol(p_sym) as created;

    if outcome = 'created' then
        select symbols.symbol_key
        into v_symbol_key
        from exchange.symbols
        where symbols.sym = p_sym;

        insert into exchange.deposits (account_key, symbol_key, amount, deposited_at)
        values (v_account_key, v_symbol_key, p_shares, clock_timestamp());

        insert into exchange.credits (account_key, symbol_key, shares, cash)
        values (v_account_key, v_symbol_key, p_shares, 0);
    end if;
end
$$;

comment on function exchange.grant_shares(text, text, numeric) is
'Gives an account shares of a symbol, which is created if it is new. One row: created, or refused with the reason.';

revoke all on function exchange.grant_shares(text, text, numeric) from public;
grant execute on function exchange.grant_shares(text, text, numeric) to exchange_gateway;
