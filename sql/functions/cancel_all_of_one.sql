-- Cancels all open orders of an account, or those of one symbol: because it asks for it, or because its dead man's switch is due. A
-- switch fires once.
--
-- Orders of symbols that aren't among the held locks don't exist for the caller: they came to rest after it took its locks.
create or replace function exchange.cancel_all_of_one(p_place integer, p_request exchange.request, p_held exchange.held_locks)
returns setof exchange.answer
language plpgsql
as $$
declare
    c_now constant timestamptz := clock_timestamp();
    v_account_key bigint;
    v_answer exchange.answer;
    v_order exchange.resting_orders;
begin
    select accounts.account_key
    into v_account_key
    from exchange.accounts
    where accounts.account_id = p_request.account_id;

    v_answer.request := p_place;
    if p_request.action = 'fire_switch' then
        delete from exchange.switches
        where switches.account_key = v_account_key and switches.fires_at <= c_now;
        v_answer.outcome := case when found then 'fired' else 'not_due' end;
    elsif v_account_key is null then
        v_answer.outcome := 'refused';
        v_answer.code := 'unknown_account';
        v_answer.message := exchange.refusal(v_answer.code, p_request);
    else
        v_answer.outcome := 'canceled_all';
    end if;
    return next v_answer;
    if v_answer.outcome in ('refused', 'not_due') then
        return;
    end if;

    v_answer.outcome := 'canceled';
    foreach v_order in array exchange.end_orders(
        array(
            select resting
            from exchange.resting_of(p_request.account_id, p_request.sym) as resting
            where exchange.is_held(p_held, resting.symbol_key)
        ),
        c_now
    ) loop
        v_answer.order_id := v_order.order_id;
        v_answer.shares := trim_scale(v_order.open_shares);
        return next v_answer;
    end loop;
end
$$;

comment on function exchange.cancel_all_of_one(integer, exchange.request, exchange.held_locks) is
'Carries out one cancel_all or fire_switch: canceled_all, or fired, and a row canceled for each order, by id; refused; or not_due. The '
'caller holds the locks of the account and of the symbols that its orders rest in.';

revoke all on function exchange.cancel_all_of_one(integer, exchange.request, exchange.held_locks) from public;
