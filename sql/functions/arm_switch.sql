-- Arms the dead man's switch of one account: a batch of one.
create or replace function exchange.arm_switch(
    p_account_id text,
    p_seconds numeric,
    out outcome text,
    out fires_at timestamptz,
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
        to_timestamp(answer.at),
        answer.code,
        answer.message
    into outcome, fires_at, code, message
    from exchange.process_batch(
        array[(1, 'arm_switch', p_account_id, null, p_seconds, null, null, null, null)::exchange.request]
    ) as answer;
end
$$;

comment on function exchange.arm_switch(text, numeric) is
'Arms a dead man''s switch: unless this is called again within so many seconds (a whole number, 1 to 86400), all open orders of the '
'account are cancelled, once, whoever is gone by then. The last call counts; disarm_switch disarms. One row: armed, with when it '
'fires; or refused with the reason.';

revoke all on function exchange.arm_switch(text, numeric) from public;
grant execute on function exchange.arm_switch(text, numeric) to exchange_gateway;
