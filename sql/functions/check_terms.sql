-- Checks that orders with terms ended as their terms say: what they took, what rests, what was cancelled, and what their clients were
-- told of it.
create or replace function exchange.check_terms()
returns table (
    invariant text,
    subject text,
    detail text
)
language sql
stable
as $$
with taken as (
    select
        said.order_id,
        sum(executions.shares) as shares,
        sum(executions.shares * executions.price) as cash,
        bool_or(met.account_key = said.account_key) as from_itself
    from exchange.order_terms as said
    inner join exchange.executions on said.order_id = greatest(executions.buy_order_id, executions.sell_order_id)
    inner join exchange.orders as met on least(executions.buy_order_id, executions.sell_order_id) = met.order_id
    group by said.order_id
),

outcomes as (
    select
        said.order_id,
        said.account_key,
        said.type,
        said.budget,
        said.tif,
        said.post,
        said.stp,
        said.executed_shares,
        said.canceled_shares,
        said.tif in ('IOC', 'FOK') or said.type = 'market' as ends_at_once,
        orders.account_key as placed_by,
        orders.side,
        orders.limit_price,
        orders.shares,
        coalesce(taken.shares, 0) as taken,
        coalesce(taken.cash, 0) as paid,
        coalesce(taken.from_itself, false) as from_itself,
        coalesce(canceled.shares, 0) as canceled,
        resting.order_id is not null as rests
    from exchange.order_terms as said
    inner join exchange.orders on said.order_id = orders.order_id
    left join taken on said.order_id = taken.order_id
    left join exchange.cancellations as canceled on said.order_id = canceled.order_id
    left join (select distinct resting_orders.order_id from exchange.resting_orders) as resting on said.order_id = resting.order_id
)

select
    found.invariant,
    format('order %s', outcomes.order_id),
    found.detail
from outcomes
cross join lateral (
    values
    (
        'terms_agree_with_order',
        outcomes.account_key <> outcomes.placed_by
        or (outcomes.type is not distinct from 'market') <> (outcomes.limit_price is null)
        or (outcomes.type is not distinct from 'market' and outcomes.side = 'buy') <> (outcomes.budget is not null),
        format(
            'a %s of account key %s with limit %s; its terms are of account key %s, type %s, budget %s',
            outcomes.side, outcomes.placed_by, trim_scale(outcomes.limit_price),
            outcomes.account_key, coalesce(outcomes.type, 'limit'), trim_scale(outcomes.budget)
        )
    ),
    (
        'order_never_rests',
        outcomes.ends_at_once and outcomes.rests,
        format('is in the book, with tif %s and type %s', coalesce(outcomes.tif, 'GTC'), coalesce(outcomes.type, 'limit'))
    ),
    (
        'fill_or_kill_is_filled',
        outcomes.tif = 'FOK' and outcomes.taken <> outcomes.shares,
        format('filled at once were %s of %s shares', trim_scale(outcomes.taken), trim_scale(outcomes.shares))
    ),
    (
        'budget_is_kept',
        outcomes.paid > outcomes.budget,
        format('paid %s of a budget of %s', trim_scale(outcomes.paid), trim_scale(outcomes.budget))
    ),
    (
        'post_only_takes_nothing',
        outcomes.post and outcomes.taken > 0,
        format('filled at once were %s shares', trim_scale(outcomes.taken))
    ),
    (
        'no_trade_with_itself',
        outcomes.stp is not null and outcomes.from_itself,
        format('traded with an order of its own account, with stp %s', outcomes.stp)
    ),
    (
        'told_is_done',
        (outcomes.executed_shares is null) <> (outcomes.tif is null and outcomes.type is null and outcomes.stp is null)
        or (outcomes.canceled_shares is null) <> (outcomes.executed_shares is null)
        or outcomes.executed_shares <> outcomes.taken
        or (
            (outcomes.ends_at_once or outcomes.canceled_shares > 0)
            and outcomes.canceled_shares <> outcomes.canceled
        ),
        format(
            'filled at once were %s shares and cancelled %s; told were %s and %s',
            trim_scale(outcomes.taken), trim_scale(outcomes.canceled),
            trim_scale(outcomes.executed_shares), trim_scale(outcomes.canceled_shares)
        )
    )
) as found (invariant, is_broken, detail)
where found.is_broken
$$;

comment on function exchange.check_terms() is
'A row for each order that did not end as its terms say: IOC, FOK or market and in the book, FOK not filled whole, a budget exceeded, '
'post only and yet a taker, a trade that stp rules out, or its client told something else. Part of check_integrity.';

revoke all on function exchange.check_terms() from public;
grant execute on function exchange.check_terms() to exchange_reader;
