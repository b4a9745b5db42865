-- Arms or disarms an account's dead man's switch; the last word counts.
--
-- It is armed to a whole second, rounded up, so that the time that its account is told is the time at which it fires.
create or replace function exchange.set_switch(p_place integer, p_request exchange.request)
returns exchange.answer
language plpgsql
as $$
declare
    v_account_key bigint;
    v_answer exchange.answer;
begin
    select accounts.account_key
    into v_account_key
    from exchange.accounts
    where accounts.account_id = p_request.account_id;

    v_answer.request := p_place;
    if v_account_key is null then
        v_answer.code := 'unknown_account';
    elsif p_request.action = 'disarm_switch' then
        delete from exchange.switches
        where switches.account_key = v_account_key;
        v_answer.outcome := 'disarmed';
    elsif (p_request.amount between 1 and 86400 and p_request.amount = trunc(p_request.amount)) is not true then
        v_answer.code := 'invalid_seconds';
    else
        insert into exchange.switches (account_key, after_seconds, fires_at)
        values (
            v_account_key,
            p_request.amount,
            to_timestamp(ceil(extract(epoch from clock_timestamp()) + p_request.amount)::double precision)
        )
        on conflict on constraint switches_pkey do update
        set
            after_seconds = excluded.after_seconds,
            fires_at = excluded.fires_at
        returning switches.fires_at into v_answer.at;
        v_answer.outcome := 'armed';
    end if;

    if v_answer.code is not null then
        v_answer.outcome := 'refused';
        v_answer.message := exchange.refusal(v_answer.code, p_request);
    end if;
    return v_answer;
end
$$;

comment on function exchange.set_switch(integer, exchange.request) is
'Carries out one arm_switch (amount: seconds) or disarm_switch: armed, with when it fires; disarmed; or refused. The caller holds the '
'lock of the account.';

revoke all on function exchange.set_switch(integer, exchange.request) from public;
