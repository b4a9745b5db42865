-- Places one order: a batch of one. For people who call it by hand, it also returns the order's state.
create or replace function exchange.place_order(
    p_account_id text,
    p_sym text,
    p_amount numeric,
    p_limit numeric,
    out outcome text,
    out order_id bigint,
    out executed_shares numeric,
    out executed_value numeric,
    out open_shares numeric,
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
        answer.order_id,
        answer.code,
        answer.message
    into outcome, order_id, code, message
    from exchange.process_batch(
        array[(1, 'place_order', p_account_id, p_sym, p_amount, p_limit, null, null, null)::exchange.request]
    ) as answer;

    if outcome = 'refused' then
        return;
    end if;

    -- The symbol is still locked, so this is what the order did and no more.
    select
        trim_scale(coalesce(sum(executions.shares), 0)),
        trim_scale(coalesce(sum(executions.shares * executions.price), 0))
    into executed_shares, executed_value
    from exchange.executions
    where
        (p_amount > 0 and executions.buy_order_id = place_order.order_id)
        or (p_amount < 0 and executions.sell_order_id = place_order.order_id);

    open_shares := trim_scale(abs(p_amount) - executed_shares);
end
$$;

comment on function exchange.place_order(text, text, numeric, numeric) is
'Places a limit order: p_amount shares, more than 0 to buy, less than 0 to sell, at p_limit or better. Matches at '
'once what can be matched and rests the remainder in the book. One row: opened with the order''s id, the shares executed at '
'once, what was paid for them, and the shares left open; or refused with the reason.';

revoke all on function exchange.place_order(text, text, numeric, numeric) from public;
grant execute on function exchange.place_order(text, text, numeric, numeric) to exchange_gateway;
