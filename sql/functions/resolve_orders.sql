-- Looks up what a run of orders is about, by keys, and refuses what is malformed or not allowed. One entry for each, in order.
--
-- The caller holds the locks of the accounts in p_account_keys, ascending: others don't exist for it. The freeze is looked at
-- here, under that lock. If it holds locks of symbols as well, other symbols don't exist for it either.
create or replace function exchange.resolve_orders(
    p_requests exchange.request[],
    p_account_keys bigint[],
    p_held exchange.held_locks
)
returns exchange.reservation[]
language plpgsql
stable
as $$
declare
    c_all_symbols constant boolean := p_held is null;
begin
    return array(
        select
            (
                asked.place,
                asked.sequence,
                accounts.account_key,
                symbols.symbol_key,
                exchange.side_of(asked.amount > 0),
                abs(asked.amount),
                asked.limit_price,
                exchange.position_key(accounts.account_key, case when asked.amount > 0 then 0 else symbols.symbol_key end),
                case
                    when asked.action <> 'place_order' then case asked.action when 'later' then 'locked' else 'not_permitted' end
                    when accounts.account_key is null then 'unknown_account'
                    when asked.amount = 0 or not exchange.is_number(asked.amount) then 'invalid_amount'
                    when
                        (asked.limit_price <= 0 or not exchange.is_number(asked.limit_price))
                        and (asked.terms).type is distinct from 'market'
                        then 'invalid_limit'
                    when symbols.symbol_key is null then 'unknown_symbol'
                    when accounts.frozen_at is not null then 'account_frozen'
                end,
                null,
                asked.terms,
                null
            )::exchange.reservation
        from unnest(p_requests) with ordinality as asked (
            sequence, action, account_id, sym, amount, limit_price, order_id, certificate_name, terms, place
        )
        -- Lateral, so that each row is looked up by its key, whatever size the planner thinks the tables have.
        left join lateral (
            select
                accounts.account_key,
                accounts.frozen_at
            from exchange.accounts
            where
                accounts.account_id = asked.account_id
                and accounts.account_key = p_account_keys[width_bucket(accounts.account_key, p_account_keys)]
            offset 0
        ) as accounts on true
        left join lateral (
            select symbols.symbol_key
            from exchange.symbols
            where
                symbols.sym = asked.sym
                and (c_all_symbols or exchange.is_held(p_held, symbols.symbol_key))
            offset 0
        ) as symbols on true
        order by asked.place
    );
end
$$;

comment on function exchange.resolve_orders(exchange.request[], bigint[], exchange.held_locks) is
'The orders of a run with their keys; or with the code of why it is refused.';

revoke all on function exchange.resolve_orders(exchange.request[], bigint[], exchange.held_locks) from public;
