-- Folds what one account is owed into its row, as its own next order would that can't be paid for without.
create or replace function exchange.settle_account(
    p_account_id text,
    out outcome text,
    out code text,
    out message text
)
language plpgsql
security definer
set search_path = exchange, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
declare
    v_balances exchange.run_balance[];
begin
    -- Lock 3 of 3: the account. No lock of an earlier kind is needed.
    select locked.balances
    into v_balances
    from exchange.lock_accounts(array[p_account_id], true) as locked;

    if v_balances is null then
        outcome := 'refused';
        code := 'unknown_account';
        message := exchange.refusal(code, (null, null, p_account_id, null, null, null, null, null, null)::exchange.request);
        return;
    end if;
    perform exchange.settle_accounts(array[v_balances[1].account_key]);
    outcome := 'settled';
end
$$;

comment on function exchange.settle_account(text) is
'Folds the credits of an account into its cash and positions. Changes nothing that the account has (account_balances '
'and account_positions count credits), only where it stands. One row: settled, or refused with the reason.';

revoke all on function exchange.settle_account(text) from public;
grant execute on function exchange.settle_account(text) to exchange_gateway;
