-- Disarms the dead man's switch of one account: a batch of one.
create or replace function exchange.disarm_switch(
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
    select
        answer.outcome,
        answer.code,
        answer.message
    into outcome, code, message
    from exchange.process_batch(
        array[(1, 'disarm_switch', p_account_id, null, null, null, null, null, null)::exchange.request]
    ) as answer;
end
$$;

comment on function exchange.disarm_switch(text) is
'Disarms the dead man''s switch of an account (arm_switch), if it is armed. One row: disarmed, or refused with the reason.';

revoke all on function exchange.disarm_switch(text) from public;
grant execute on function exchange.disarm_switch(text) to exchange_gateway;
