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

parts as (
    select
        asked.request,
        0::bigint as symbol_key,
        asked.cash::numeric as free,
        0::numeric as reserved
    from asked
    union all
    select
        asked.request,
        held.symbol_key,
        held.free,
        held.reserved
    from asked
    cross join lateral exchange.holdings_of(asked.account_key, asked.settled_before) as held
    union all
    -- A small table without an index: it is read once, and not for each account.
    select
        asked.request,
        case incoming.side when 'sell' then incoming.symbol_key else 0 end as symbol_key,
        0 as free,
        exchange.order_cost(incoming.side, incoming.shares, incoming.limit_price, incoming.budget) as reserved
    from (
        select
            incoming_orders.account_key,
            incoming_orders.symbol_key,
            incoming_orders.side,
            incoming_orders.shares,
            incoming_orders.limit_price,
            (incoming_orders.terms).budget
        from exchange.incoming_orders
        where incoming_orders.account_key = any(array(select asked.account_key from asked))
        offset 0
    ) as incoming
    inner join asked on incoming.account_key = asked.account_key
),

sums as (
    select
        parts.request,
        parts.symbol_key,
        sum(parts.free) as free,
        sum(parts.reserved) as reserved
    from parts
    group by parts.request, parts.symbol_key
),

refusals as (
    select
        asked.request,
        'unknown_account' as code,
        exchange.refusal(
            'unknown_account', (null, null, asked.account_id, null, null, null, null, null, null)::exchange.request
        ) as message
    from asked
    where asked.account_key is null
)

select
    sums.request,
    case when refusals.code is not null then 'refused' when sums.symbol_key = 0 then 'account' else 'position' end,
    null::bigint,
    trim_scale(sums.free),
    null::numeric,
    case sums.symbol_key when 0 then to_timestamp(ceil(extract(epoch from armed.fires_at))) end,
    refusals.code,
    refusals.message,
    traded.sym,
    case when refusals.code is null then trim_scale(sums.reserved) end,
    null::text
from sums
inner join asked on sums.request = asked.request
left join refusals on sums.request = refusals.request
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
order by sums.request, traded.sym nulls first
$$;

comment on function exchange.look_accounts(integer[], exchange.request[]) is
'What accounts have: a row account (shares: free cash; amount: cash reserved; at: when its switch fires, if one is armed, in whole '
'seconds, rounded up), then a row position for each symbol of which there are shares (shares: free; amount: reserved), by symbol in '
'byte order; refused where there is no such account. Use look_account for one.';

revoke all on function exchange.look_accounts(integer[], exchange.request[]) from public;
