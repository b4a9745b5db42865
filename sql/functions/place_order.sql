-- Places one order, for people who call it by hand. What is said by name is spelt as on the wire.
create or replace function exchange.place_order(
    p_account_id text,
    p_sym text,
    p_amount numeric,
    p_limit numeric default null,
    ref text default null,
    type exchange.order_type default null, -- noqa: RF04
    budget numeric default null,
    tif exchange.time_in_force default null,
    post boolean default null,
    stp exchange.self_trade default null,
    out outcome text,
    out order_id bigint,
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
        placed.executed_shares,
        placed.executed_value,
        placed.open_shares,
        placed.canceled_shares,
        placed.passed,
        placed.is_duplicate,
        placed.code,
        placed.message
    into outcome, order_id, executed_shares, executed_value, open_shares, canceled_shares, passed, is_duplicate, code, message
    from exchange.place_one(
        (
            1, 'place_order', p_account_id, p_sym, p_amount, p_limit, null, null,
            case
                when num_nonnulls(ref, type, budget, tif, post, stp) > 0
                    then (ref, type, budget, tif, post, stp, null, null)::exchange.terms
            end
        )::exchange.request
    ) as placed;
end
$$;

comment on function exchange.place_order(
    text, text, numeric, numeric, text, exchange.order_type, numeric, exchange.time_in_force, boolean, exchange.self_trade
) is
'Places an order: p_amount shares, more than 0 to buy, less than 0 to sell, at p_limit or better. Matches at once what can be '
'matched and rests the remainder in the book. By name it can say more: ref, its own name, under which it is placed once, '
'however often it is sent; type => ''market'' (no p_limit; budget where it buys); tif => ''IOC'' or ''FOK''; post => true, to '
'rest or be refused; stp => ''taker'', ''maker'' or ''both'', not to trade with orders of the same account. One row: opened '
'with the order''s id, the shares executed at once, what was paid for them, the shares left open and those cancelled at once, '
'and the own orders that were cancelled; is_duplicate where it was placed before, and this is what it did then; or refused '
'with the reason; or later, where nothing was done and it is to be asked again.';

revoke all on function exchange.place_order(
    text, text, numeric, numeric, text, exchange.order_type, numeric, exchange.time_in_force, boolean, exchange.self_trade
) from public;
grant execute on function exchange.place_order(
    text, text, numeric, numeric, text, exchange.order_type, numeric, exchange.time_in_force, boolean, exchange.self_trade
) to exchange_gateway;
