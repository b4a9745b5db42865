-- Checks what orders with terms say of others: a ref is one order's, and what was replaced or passed is cancelled.
create or replace function exchange.check_links()
returns table (
    invariant text,
    subject text,
    detail text
)
language sql
stable
as $$
with links as (
    select
        order_terms.order_id,
        ended.order_id as ended_id,
        ended.is_replaced,
        order_terms.released_shares,
        order_terms.stp in ('maker', 'both') as passes
    from exchange.order_terms
    cross join lateral (
        select
            order_terms.replaced_order_id as order_id,
            true as is_replaced
        where order_terms.replaced_order_id is not null or order_terms.released_shares is not null
        union all
        select
            passed.order_id,
            false as is_replaced
        from unnest(order_terms.passed_order_ids) as passed (order_id)
    ) as ended
),

ends as (
    select
        links.order_id,
        links.ended_id,
        links.is_replaced,
        case
            when links.is_replaced then later.side = earlier.side and canceled.shares = links.released_shares
            else later.side <> earlier.side and canceled.shares > 0 and links.passes
        end
        and later.account_key = earlier.account_key
        and later.symbol_key = earlier.symbol_key
        and later.order_id > earlier.order_id
        and count(*) over (partition by links.ended_id) = 1 as is_sound,
        canceled.shares as canceled,
        links.released_shares
    from links
    left join exchange.orders as later on links.order_id = later.order_id
    left join exchange.orders as earlier on links.ended_id = earlier.order_id
    left join exchange.cancellations as canceled on links.ended_id = canceled.order_id
),

refs as (
    select
        order_terms.account_key,
        order_terms.ref
    from exchange.order_terms
    union all
    select
        incoming_orders.account_key,
        (incoming_orders.terms).ref
    from exchange.incoming_orders
)

select
    case when ends.is_replaced then 'replaced_order_is_canceled' else 'passed_order_is_canceled' end,
    format('order %s', ends.order_id),
    format(
        case
            when ends.is_replaced
                then 'replaced order %s, of the same account, symbol and side, and released %s shares; cancelled of it are %s'
            else 'passed order %1$s, of the same account and symbol, for its stp says so; cancelled of it are %3$s'
        end,
        ends.ended_id, trim_scale(ends.released_shares), coalesce(trim_scale(ends.canceled), 0)
    )
from ends
where ends.is_sound is not true
union all
select
    'ref_is_unique',
    format('account %s, ref %s', coalesce(accounts.account_id, 'with key ' || refs.account_key), refs.ref),
    format('%s orders have it', count(*))
from refs
left join exchange.accounts on refs.account_key = accounts.account_key
where refs.ref is not null
group by accounts.account_id, refs.account_key, refs.ref
having count(*) > 1
$$;

comment on function exchange.check_links() is
'A row for each order that replaced or passed one which is not cancelled for it, by as much as was told, or not of the same account '
'and symbol; and for each ref that two orders of an account have. Part of check_integrity.';

revoke all on function exchange.check_links() from public;
grant execute on function exchange.check_links() to exchange_reader;
