-- Decides what of a replace can be decided before anything is done. In this order: its spelling; whether its ref says that it was done
-- before; whether the old order is there, open, of the same side, and as open as the client says.
create or replace function exchange.resolve_replace(
    p_request exchange.request,
    p_held exchange.held_locks,
    out new_order exchange.request,
    out old_order exchange.resting_orders,
    out reserved exchange.reservation,
    out code text,
    out message text
)
language plpgsql
as $$
declare
    v_terms constant exchange.terms := p_request.terms;
    v_account_keys bigint[];
    v_old record;
begin
    select
        owned.order_id,
        owned.symbol_key,
        owned.side,
        owned.price_rank,
        symbols.sym
    into v_old
    from exchange.account_order(p_request.account_id, p_request.order_id, v_terms.of_ref) as owned
    inner join exchange.symbols on owned.symbol_key = symbols.symbol_key
    where exchange.is_held(p_held, owned.symbol_key);

    -- The new order, which has terms, if empty ones, because what it replaces is kept with them.
    new_order := (
        p_request.sequence, 'place_order', p_request.account_id, v_old.sym, p_request.amount, p_request.limit_price, null, null,
        (v_terms.ref, null, null, v_terms.tif, v_terms.post, v_terms.stp, null, null)
    );
    v_account_keys := array(
        select balances.account_key
        from exchange.lock_accounts(array[p_request.account_id], false) as locked
        cross join lateral unnest(locked.balances) as balances
    );
    reserved := (exchange.resolve_orders(array[new_order], v_account_keys, p_held))[1];
    if reserved.code is null or reserved.code in ('unknown_symbol', 'account_frozen') then
        reserved.code := exchange.terms_fault(p_request);
        reserved := (exchange.resolve_terms(array[reserved], coalesce(v_old.order_id, 0)))[1];
    end if;
    code := reserved.code;
    message := reserved.message;

    if code is null and v_old.order_id is null then
        code := 'unknown_order';
        p_request.terms.ref := v_terms.of_ref;
    elsif code is null then
        p_request.order_id := v_old.order_id;
        old_order := exchange.find_resting(
            (v_old.symbol_key, v_old.side, v_old.price_rank, v_old.order_id, null, null)::exchange.resting_orders
        );
        if old_order.order_id is null then
            code := 'nothing_open';
        elsif old_order.side <> reserved.side then
            code := 'other_side';
            message := format('order %s is to %s, and so must be what replaces it', old_order.order_id, old_order.side);
        elsif old_order.open_shares <> v_terms.if_open then
            code := 'open_differs';
            message := format(
                'order %s: %s shares are open, not %s',
                old_order.order_id,
                trim_scale(old_order.open_shares),
                trim_scale(v_terms.if_open)
            );
        end if;
    end if;
    message := coalesce(message, exchange.refusal(code, p_request));
end
$$;

comment on function exchange.resolve_replace(exchange.request, exchange.held_locks) is
'A replace as far as it can be decided before anything is done: the new order as a request and as resolve_orders has it, and where the '
'old one rests; or the code of why it is refused, or duplicate.';

revoke all on function exchange.resolve_replace(exchange.request, exchange.held_locks) from public;
