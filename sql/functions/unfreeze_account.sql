-- Ends a freeze.
create or replace function exchange.unfreeze_account(
    p_account_id text,
    out outcome text,
    out code text,
    out message text
)
language plpgsql
security definer
set search_path = exchange, pg_temp
as $$
begin
    -- Lock 3 of 3: the account.
    perform from exchange.lock_accounts(array[p_account_id], true);

    update exchange.accounts
    set frozen_at = null
    where accounts.account_id = p_account_id;

    if not found then
        outcome := 'refused';
        code := 'unknown_account';
        message := exchange.refusal(code, (null, null, p_account_id, null, null, null, null, null, null)::exchange.request);
        return;
    end if;
    outcome := 'unfrozen';
    message := format('account %s can place orders', p_account_id);
end
$$;

comment on function exchange.unfreeze_account(text) is
'Lets an account place orders again; does nothing where it was not frozen. One row: unfrozen, or refused with the reason.';

revoke all on function exchange.unfreeze_account(text) from public;
