-- Decides what of a replace can be decided before anything is done. In this order: its spelling; whether its ref says that it was done
-- before; whether the old order is there, open, of the same side, and as open as the client says.
create or replace function exchange.resolve_replace(p_request exchange.request, p_held exchange.held_locks)
returns exchange.replacement
language plpgsql
as $$
declare
    v_terms constant exchange.terms := p_request.terms;
    v_account_keys bigint[];
    v_old record;
    v_new_order exchange.request;
    v_old_order exchange.resting_orders;
    v_reserved exchange.reservation;
    v_code text;
    v_message text;
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
    v_new_order := (
        p_request.sequence, 'place_order', p_request.account_id, v_old.sym, p_request.amount, p_request.limit_price, null, null,
        (v_terms.ref, null, null, v_terms.tif, v_terms.post, v_terms.stp, null, null)::exchange.terms
    )::exchange.request;
    v_account_keys := array(
        select balances.account_key
        from exchange.lock_accounts(array[p_request.account_id], false) as locked
        cross join lateral unnest(locked.balances) as balances
    );
    v_reserved := (exchange.resolve_orders(array[v_new_order], v_account_keys, p_held))[1];
    if v_reserved.code is null or v_reserved.code in ('unknown_symbol', 'account_frozen') then
        v_reserved.code := exchange.terms_fault(p_request);
        v_reserved := (exchange.resolve_terms(array[v_reserved], coalesce(v_old.order_id, 0)))[1];
    end if;
    v_code := v_reserved.code;
    v_message := v_reserved.message;

    if v_code is null and v_old.order_id is null then
        v_code := 'unknown_order';
        p_request.terms.ref := v_terms.of_ref;
    elsif v_code is null then
        p_request.order_id := v_old.order_id;
        v_old_order := exchange.find_resting(
            (v_old.symbol_key, v_old.side, v_old.price_rank, v_old.order_id, null, null)::exchange.resting_orders
        );
        if v_old_order.order_id is null then
            v_code := 'nothing_open';
        elsif v_old_order.side <> v_reserved.side then
            v_code := 'other_side';
            v_message := format('order %s is to %s, and so must be what replaces it', v_old_order.order_id, v_old_order.side);
        elsif v_old_order.open_shares <> v_terms.if_open then
            v_code := 'open_differs';
            v_message := format(
                'order %s: %s shares are open, not %s',
                v_old_order.order_id,
                trim_scale(v_old_order.open_shares),
                trim_scale(v_terms.if_open)
            );
        end if;
    end if;
    return (
        v_new_order, v_old_order, v_reserved, v_code, coalesce(v_message, exchange.refusal(v_code, p_request))
    )::exchange.replacement;
end
$$;

comment on function exchange.resolve_replace(exchange.request, exchange.held_locks) is
'A replace as far as it can be decided before anything is done: the new order as a request and as resolve_orders has it, and where the '
'old one rests; or the code of why it is refused, or duplicate.';

revoke all on function exchange.resolve_replace(exchange.request, exchange.held_locks) from public;
