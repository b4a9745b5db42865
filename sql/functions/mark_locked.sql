-- Marks the orders of accounts that somebody else has locked, and all that follows them in their sequence: their action becomes
-- later, which does nothing.
create or replace function exchange.mark_locked(p_requests exchange.request[], p_locked_keys bigint[])
returns exchange.request[]
language plpgsql
stable
as $$
begin
    return array(
        select
            (
                marked.sequence,
                case when marked.waits then 'later' else marked.action end,
                marked.account_id,
                marked.sym,
                marked.amount,
                marked.limit_price,
                marked.order_id,
                marked.certificate_name
            )::exchange.request
        from (
            select
                asked.*,
                bool_or(asked.action = 'place_order' and acting.account_key = any(p_locked_keys))
                over (partition by asked.sequence order by asked.place) is true as waits
            from unnest(p_requests) with ordinality as asked (
                sequence, action, account_id, sym, amount, limit_price, order_id, certificate_name, place
            )
            left join lateral (
                select accounts.account_key
                from exchange.accounts
                where
                    accounts.account_id = asked.account_id
                    and exists (select from exchange.balances where balances.account_key = accounts.account_key)
                offset 0
            ) as acting on true
        ) as marked
        order by marked.place
    );
end
$$;

comment on function exchange.mark_locked(exchange.request[], bigint[]) is
'The requests of a run of orders, with another action where the account is among these, and for what follows in their sequence.';

revoke all on function exchange.mark_locked(exchange.request[], bigint[]) from public;
