-- Places one order in the place of another, for people who call it by hand. What is said by name is spelt as on the wire.
create or replace function exchange.replace_order(
    p_account_id text,
    p_order_id bigint,
    p_amount numeric,
    p_limit numeric,
    ref text default null,
    tif exchange.time_in_force default null,
    post boolean default null,
    stp exchange.self_trade default null,
    open numeric default null,
    of text default null, -- noqa: RF04
    out outcome text,
    out order_id bigint,
    out replaced bigint,
    out released_shares numeric,
    out executed_shares numeric,
    out executed_value numeric,
    out open_shares numeric,
    out canceled_shares numeric,
    out passed bigint[],
    out is_duplicate boolean,
    out code text,
    out message text
)
language plpgsql
security definer
set search_path = exchange, pg_temp
as $$
begin
    select
        placed.outcome,
        placed.order_id,
        placed.replaced,
        placed.released_shares,
        placed.executed_shares,
        placed.executed_value,
        placed.open_shares,
        placed.canceled_shares,
        placed.passed,
        placed.is_duplicate,
        placed.code,
        placed.message
    into
        outcome, order_id, replaced, released_shares, executed_shares, executed_value, open_shares, canceled_shares, passed,
        is_duplicate, code, message
    from exchange.place_one(
        (
            1, 'replace_order', p_account_id, null, p_amount, p_limit, p_order_id, null,
            (ref, null, null, tif, post, stp, of, open)::exchange.terms
        )::exchange.request
    ) as placed;
end
$$;

comment on function exchange.replace_order(
    text, bigint, numeric, numeric, text, exchange.time_in_force, boolean, exchange.self_trade, numeric, text
) is
'Cancels what is open of an order (p_order_id, or its ref: of) and places another of the same symbol and side, both or neither: '
'p_amount shares, less than 0 to sell, at p_limit. What was reserved for the old one can pay for the new one. open => 100: only if so '
'many shares of the old one are open. ref, tif, post and stp as for place_order. One row: opened with the new order''s id, the old '
'one''s, the shares that were released of that, and what the new one did at once; or refused with the reason.';

revoke all on function exchange.replace_order(
    text, bigint, numeric, numeric, text, exchange.time_in_force, boolean, exchange.self_trade, numeric, text
) from public;
grant execute on function exchange.replace_order(
    text, bigint, numeric, numeric, text, exchange.time_in_force, boolean, exchange.self_trade, numeric, text
) to exchange_gateway;
