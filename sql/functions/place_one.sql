-- Places one order, or replaces one: a batch of one. For people who call it by hand, it also tells the order's state.
create or replace function exchange.place_one(
    p_request exchange.request,
    out outcome text,
    out order_id bigint,
    out executed_shares numeric,
    out executed_value numeric,
    out open_shares numeric,
    out canceled_shares numeric,
    out replaced bigint,
    out released_shares numeric,
    out passed bigint[],
    out is_duplicate boolean,
    out code text,
    out message text
)
language plpgsql
as $$
begin
    select
        max(answer.outcome) filter (where answer.outcome in ('opened', 'refused', 'later')),
        max(answer.order_id) filter (where answer.outcome = 'opened'),
        max(answer.shares) filter (where answer.outcome = 'canceled'),
        max(answer.order_id) filter (where answer.outcome = 'replaced'),
        max(answer.shares) filter (where answer.outcome = 'replaced'),
        array_agg(answer.order_id) filter (where answer.outcome = 'passed'),
        bool_or(answer.outcome = 'duplicate'),
        max(answer.code),
        max(answer.message)
    into outcome, order_id, canceled_shares, replaced, released_shares, passed, is_duplicate, code, message
    from exchange.process_batch(array[p_request]) as answer;

    if outcome <> 'opened' then
        is_duplicate := null;
        return;
    end if;

    -- The symbol is still locked. What the order did at once, it did with orders that came before it.
    select
        trim_scale(coalesce(sum(executions.shares), 0)),
        trim_scale(coalesce(sum(executions.shares * executions.price), 0))
    into executed_shares, executed_value
    from exchange.executions
    where
        (
            p_request.amount > 0
            and executions.buy_order_id = place_one.order_id
            and executions.sell_order_id < place_one.order_id
        )
        or (
            p_request.amount < 0
            and executions.sell_order_id = place_one.order_id
            and executions.buy_order_id < place_one.order_id
        );

    canceled_shares := coalesce(canceled_shares, 0);
    open_shares := trim_scale(abs(p_request.amount) - executed_shares - canceled_shares);
end
$$;

comment on function exchange.place_one(exchange.request) is
'Carries out one place_order or replace_order, for the functions of that name, and tells what it did at once, or did at first.';

revoke all on function exchange.place_one(exchange.request) from public;
