-- Cancels a part of what is open of one order; the rest keeps its place in the queue. If that is all of it, it is a cancel.
create or replace function exchange.reduce_one(p_place integer, p_request exchange.request, p_held exchange.held_locks)
returns setof exchange.answer
language plpgsql
as $$
declare
    c_now constant timestamptz := clock_timestamp();
    c_is_to constant boolean := p_request.action = 'reduce_order_to';
    v_order exchange.resting_orders;
    v_answer exchange.answer;
    v_shares numeric; -- to cancel
begin
    v_answer.request := p_place;
    v_answer.outcome := 'refused';
    v_answer.order_id := p_request.order_id;
    if not coalesce(exchange.is_number(p_request.amount) and (p_request.amount > 0 or (c_is_to and p_request.amount = 0)), false) then
        v_answer.code := 'invalid_shares';
    else
        select
            owned.order_id,
            owned.symbol_key,
            owned.side,
            owned.price_rank
        into v_order.order_id, v_order.symbol_key, v_order.side, v_order.price_rank
        from exchange.account_order(p_request.account_id, p_request.order_id, (p_request.terms).ref) as owned
        where exchange.is_held(p_held, owned.symbol_key);
        if v_order.order_id is null then
            v_answer.code := exchange.unknown_order(p_request.order_id, (p_request.terms).ref);
        else
            p_request.order_id := v_order.order_id;
            v_order := exchange.find_resting(v_order);
            if v_order.open_shares is null then
                v_answer.code := 'nothing_open';
            end if;
        end if;
    end if;
    if v_answer.code is not null then
        v_answer.message := exchange.refusal(v_answer.code, p_request);
        return next v_answer;
        return;
    end if;

    v_shares := case
        when c_is_to then greatest(v_order.open_shares - p_request.amount, 0)
        else least(v_order.open_shares, p_request.amount)
    end;
    if v_shares = v_order.open_shares then
        perform exchange.end_orders(array[v_order], c_now);
    elsif v_shares > 0 then
        perform exchange.shrink_order(v_order, v_shares, c_now);
    end if;

    v_answer.order_id := v_order.order_id;
    v_answer.outcome := 'reduced';
    v_answer.shares := trim_scale(v_shares);
    return next v_answer;
    v_answer.outcome := 'open';
    v_answer.shares := trim_scale(v_order.open_shares - v_shares);
    return next v_answer;
end
$$;

comment on function exchange.reduce_one(integer, exchange.request, exchange.held_locks) is
'Carries out one reduce_order or reduce_order_to: rows reduced, with the shares that it cancelled, and open, with those that are left; '
'or refused. The caller holds the lock of the symbol.';

revoke all on function exchange.reduce_one(integer, exchange.request, exchange.held_locks) from public;
