-- What an account has beside its settled cash: free, or reserved for its orders in the book, in parts whose sums tell it. The
-- symbol 0 stands for money.
--
-- Simple enough to be inlined. It reads what the view holdings has of the account, but for incoming orders, which have no index.
create or replace function exchange.holdings_of(p_account_key bigint, p_settled_before xid8)
returns table (
    symbol_key bigint,
    free numeric,
    reserved numeric
)
language sql
stable
as $$
select
    owed.symbol_key,
    owed.free,
    0::numeric as reserved
from (
    select
        credits.symbol_key,
        credits.shares,
        credits.cash
    from exchange.credits
    where credits.account_key = p_account_key and credits.transaction_id >= exchange.settled_since(p_settled_before)
    offset 0
) as waiting
cross join lateral (values (0::bigint, waiting.cash::numeric), (waiting.symbol_key, waiting.shares)) as owed (symbol_key, free)
union all
select
    positions.symbol_key,
    positions.shares,
    0
from exchange.positions
where positions.account_key = p_account_key
union all
select
    case resting_orders.side when 'sell' then resting_orders.symbol_key else 0 end,
    0,
    exchange.order_cost(resting_orders.side, resting_orders.open_shares, abs(resting_orders.price_rank))
from exchange.resting_orders
where resting_orders.account_key = p_account_key
$$;

comment on function exchange.holdings_of(bigint, xid8) is
'Parts of what an account has beside its settled cash, to be summed up by symbol (0: money): free, owed or of its positions; and '
'reserved for its orders in the book. p_settled_before is what its balance says.';

revoke all on function exchange.holdings_of(bigint, xid8) from public;
