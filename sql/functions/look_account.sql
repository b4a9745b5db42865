-- Returns what one account has: a batch of one.
create or replace function exchange.look_account(p_account_id text)
returns table (
    outcome text,
    sym text,
    free numeric,
    reserved numeric,
    fires_at timestamptz,
    code text,
    message text
)
language sql
security definer
set search_path = exchange, pg_temp
as $$
select
    answer.outcome,
    answer.sym,
    answer.shares,
    answer.amount,
    to_timestamp(answer.at),
    answer.code,
    answer.message
from exchange.process_batch(
    array[(1, 'look_account', p_account_id, null, null, null, null, null, null)::exchange.request]
) as answer
$$;

comment on function exchange.look_account(text) is
'What an account has: a row account with its cash, and when its switch fires, if one is armed; then a row position for each symbol '
'of which it has shares. free can be spent or sold now, reserved is in its open orders. Or one row refused, where there is no such '
'account.';

revoke all on function exchange.look_account(text) from public;
grant execute on function exchange.look_account(text) to exchange_gateway;
