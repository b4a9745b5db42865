-- Creates an account with its opening balance.
create or replace function exchange.create_account(
    p_account_id text,
    p_balance numeric,
    out outcome text,
    out code text,
    out message text
)
language plpgsql
security definer
set search_path = exchange, pg_temp
as $$
declare
    v_now timestamptz;
    v_account_key bigint;
begin
    -- Lock 1 of 3: creation. Others that create wait here, so a unique violation can't happen.
    perform pg_advisory_xact_lock(5001, 0);
    v_now := clock_timestamp();

    if (p_account_id ~ '^[0-9]{1,255}$') is not true then
        code := 'invalid_account';
        message := format('account id %s is not allowed: 1 to 255 digits', left(coalesce(p_account_id, 'null'), 40));
    elsif (p_balance >= 0 and exchange.is_number(p_balance)) is not true then
        code := 'invalid_balance';
        message := format(
            'balance %s is not allowed: 0 or more, %s', coalesce(p_balance::text, 'null'), exchange.number_rule()
        );
    elsif exists (select from exchange.accounts where accounts.account_id = p_account_id) then
        code := 'account_exists';
        message := format('account %s exists already', p_account_id);
    else
        insert into exchange.accounts (account_id, created_at)
        values (p_account_id, v_now)
        returning accounts.account_key into v_account_key;

        insert into exchange.balances (account_key, cash)
        values (v_account_key, p_balance);

        insert into exchange.deposits (account_key, symbol_key, amount, deposited_at)
        select
            v_account_key,
            null,
            p_balance,
            v_now
        where p_balance > 0;
    end if;

    outcome := case when code is null then 'created' else 'refused' end;
end
$$;

comment on function exchange.create_account(text, numeric) is
'Creates an account with an opening balance. One row: created, or refused with the reason.';

revoke all on function exchange.create_account(text, numeric) from public;
grant execute on function exchange.create_account(text, numeric) to exchange_gateway;
