-- Returns what accounts have: the free cash and what is reserved of it, then the same of each symbol's shares.
--
-- It is one statement, so one snapshot: what it says adds up even while others trade. It needs no lock.
create or replace function exchange.look_accounts(p_places integer[], p_requests exchange.request[])
returns setof exchange.answer
language sql
stable
as $$
with asked as (
    select
        request.place as request,
        request.account_id,
        owner.account_key,
        owner.cash,
        owner.settled_before
    from rows from (unnest(p_places), unnest(p_requests)) as request (
        place, sequence, action, account_id, sym, amount, limit_price, order_id, certificate_name, terms
    )
    left join lateral (
        select
            accounts.account_key,
            balance.cash,
            balance.settled_before
        from exchange.accounts
        cross join lateral (
            select
                balances.cash,
                balances.settled_before
            from exchange.balances
            where balances.account_key = accounts.account_key
            order by balances.generation desc
            limit 1
        ) as balance
        where accounts.account_id = request.account_id
        offset 0
    ) as owner on true
),

-- A small table without an index: it is read once, and not for each account.
incoming as materialized (
    select
        incoming_orders.account_key,
        case incoming_orders.side when 'sell' then incoming_orders.symbol_key else 0 end as symbol_key,
        exchange.order_cost(
            incoming_orders.side, incoming_orders.shares, incoming_orders.limit_price, (incoming_orders.terms).budget
        ) as reserved
    from exchange.incoming_orders
    where incoming_orders.account_key = any(array(select asked.account_key from asked))
)

select
    asked.request,
    case when asked.account_key is null then 'refused' when sums.symbol_key = 0 then 'account' else 'position' end,
    null::bigint,
    trim_scale(sums.free),
    null::numeric,
    case sums.symbol_key when 0 then to_timestamp(ceil(extract(epoch from armed.fires_at))) end,
    refused.code,
    exchange.refusal(refused.code, (null, null, asked.account_id, null, null, null, null, null, null)::exchange.request),
    traded.sym,
    case when asked.account_key is not null then trim_scale(sums.reserved) end,
    null::text
from asked
cross join lateral (select case when asked.account_key is null then 'unknown_account' end as code) as refused
cross join lateral (
    select
        parts.symbol_key,
        sum(parts.free) as free,
        sum(parts.reserved) as reserved
    from (
        select
            0::bigint as symbol_key,
            asked.cash::numeric as free,
            0::numeric as reserved
        union all
        select
            held.symbol_key,
            held.free,
            held.reserved
        from exchange.holdings_of(asked.account_key, asked.settled_before) as held
        union all
        select
            incoming.symbol_key,
            0,
            incoming.reserved
        from incoming
        where incoming.account_key = asked.account_key
    ) as parts
    group by parts.symbol_key
) as sums
left join lateral (
    select symbols.sym
    from exchange.symbols
    where symbols.symbol_key = sums.symbol_key
    offset 0
) as traded on true
left join lateral (
    select switches.fires_at
    from exchange.switches
    where switches.account_key = asked.account_key
    offset 0
) as armed on true
where sums.symbol_key = 0 or sums.free > 0 or sums.reserved > 0
order by asked.request, traded.sym nulls first
$$;

comment on function exchange.look_accounts(integer[], exchange.request[]) is
'What accounts have: a row account (shares: free cash; amount: cash reserved; at: when its switch fires, if one is armed, rounded up), '
'then a row position for each symbol of which there are shares (shares: free; amount: reserved), by symbol in byte order; refused where '
'there is no such account. Use look_account for one.';

revoke all on function exchange.look_accounts(integer[], exchange.request[]) from public;
