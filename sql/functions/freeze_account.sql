-- Takes an account out of trading: it places no more orders.
create or replace function exchange.freeze_account(
    p_account_id text,
    out outcome text,
    out code text,
    out message text
)
language plpgsql
security definer
set search_path = exchange, pg_temp
as $$
declare
    v_frozen_at timestamptz;
    v_incoming exchange.incoming_orders[];
begin
    -- Lock 3 of 3: the account. A transaction that reserves for it holds it, and the next one to get it sees the freeze.
    perform from exchange.lock_accounts(array[p_account_id], true);

    update exchange.accounts
    set frozen_at = coalesce(accounts.frozen_at, clock_timestamp())
    where accounts.account_id = p_account_id
    returning accounts.frozen_at into v_frozen_at;

    if v_frozen_at is null then
        outcome := 'refused';
        code := 'unknown_account';
        message := exchange.refusal(code, (null, null, p_account_id, null, null, null, null, null, null)::exchange.request);
        return;
    end if;

    -- What is reserved and not in the market yet won't get there. A match that has taken it already is waited for.
    with deleted as (
        delete from exchange.incoming_orders
        using exchange.accounts
        where accounts.account_id = p_account_id and incoming_orders.account_key = accounts.account_key
        returning incoming_orders as incoming
    )

    select array_agg(deleted.incoming)
    into v_incoming
    from deleted;
    perform exchange.give_back(v_incoming);

    outcome := 'frozen';
    message := format(
        'account %s has been frozen since %s and places no orders; its resting orders can be filled until '
        'cancel_open_orders cancels them; unfreeze_account ends the freeze',
        p_account_id, date_trunc('second', v_frozen_at)
    );
end
$$;

comment on function exchange.freeze_account(text) is
'Freezes an account: once this has committed it places no orders (account_frozen) until unfreeze_account. Its resting orders '
'stay and can be filled: cancel_open_orders, in a transaction of its own, cancels them. It can still query and '
'cancel, and be paid. One row: frozen, or refused with the reason.';

revoke all on function exchange.freeze_account(text) from public;
