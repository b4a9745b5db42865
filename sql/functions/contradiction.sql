-- What in a request contradicts itself, or is missing. Gateways don't ask for such things; people may.
--
-- PL/pgSQL, although it is one expression: each order with terms asks, and a function in SQL is started anew for each.
create or replace function exchange.contradiction(p_request exchange.request)
returns text
language plpgsql
immutable
parallel safe
as $$
begin
    return case
        when
            (p_request).action in ('query_order', 'cancel_order', 'reduce_order', 'reduce_order_to')
            and (p_request).order_id is not null
            and (p_request).terms.ref is not null
            or (p_request).action = 'replace_order'
            and (p_request).order_id is not null
            and (p_request).terms.of_ref is not null
            then 'an order is named by its id or by its ref, not by both'
        when (p_request).action not in ('place_order', 'replace_order') then null
        when (p_request).action = 'place_order' and ((p_request).terms.of_ref is not null or (p_request).terms.if_open is not null)
            then 'only a replace says what it replaces'
        when (p_request).action = 'replace_order' and ((p_request).terms.type is not null or (p_request).terms.budget is not null)
            then 'a replace has no type and no budget: its new order is a limit order'
        when (p_request).terms.post and (p_request).terms.tif in ('IOC', 'FOK')
            then format('an order that is post only rests, and one that is %s never does', (p_request).terms.tif)
        when (p_request).terms.type is distinct from 'market' and (p_request).terms.budget is not null
            then 'a limit order has no budget'
        when (p_request).terms.type is distinct from 'market' then null
        when (p_request).limit_price is not null then 'a market order has no limit'
        when (p_request).terms.tif = 'GTC' then 'a market order never rests: its tif is IOC or FOK'
        when (p_request).terms.post then 'a market order never rests, so it can''t be post only'
        when (p_request).amount > 0 and (p_request).terms.budget is null then 'a market order that buys has a budget'
        when (p_request).amount < 0 and (p_request).terms.budget is not null then 'a market order that sells has no budget'
    end;
end
$$;

comment on function exchange.contradiction(exchange.request) is
'What contradicts itself, or is missing, in what a request says beyond symbol, amount and limit; null where nothing does.';

revoke all on function exchange.contradiction(exchange.request) from public;
