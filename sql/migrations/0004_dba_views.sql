-- What a DBA looks at: the market, what became of orders and money, locks, and bloat. exchange_reader may read it all.

set local role exchange_owner;

create view exchange.best_bid_ask as
select
    symbols.sym,
    trim_scale(newest.bid) as bid,
    trim_scale(at_bid.shares) as bid_shares,
    trim_scale(newest.ask) as ask,
    trim_scale(at_ask.shares) as ask_shares,
    trim_scale(newest.ask - newest.bid) as spread,
    bid_since.updated_at as bid_since,
    ask_since.updated_at as ask_since,
    trim_scale(newest.last_price) as last_price,
    newest.last_at,
    symbols.halted_at
from exchange.symbols
left join lateral (
    select
        -nullif(updates.bid_rank, 'Infinity') as bid,
        updates.bid_id,
        nullif(updates.ask_rank, 'Infinity') as ask,
        updates.ask_id,
        updates.last_price,
        updates.last_at
    from exchange.updates
    where updates.symbol_key = symbols.symbol_key
    order by updates.seq desc
    limit 1
) as newest on true
-- The first update after the last one at which another order was the best.
left join lateral (
    select updates.updated_at
    from exchange.updates
    where
        updates.symbol_key = symbols.symbol_key
        and updates.seq > coalesce((
            select other.seq
            from exchange.updates as other
            where other.symbol_key = symbols.symbol_key and other.bid_id <> newest.bid_id
            order by other.seq desc
            limit 1
        ), 0)
    order by updates.seq
    limit 1
) as bid_since on true
left join lateral (
    select updates.updated_at
    from exchange.updates
    where
        updates.symbol_key = symbols.symbol_key
        and updates.seq > coalesce((
            select other.seq
            from exchange.updates as other
            where other.symbol_key = symbols.symbol_key and other.ask_id <> newest.ask_id
            order by other.seq desc
            limit 1
        ), 0)
    order by updates.seq
    limit 1
) as ask_since on true
left join lateral (
    select sum(resting_orders.open_shares) as shares
    from exchange.resting_orders
    where
        resting_orders.symbol_key = symbols.symbol_key
        and resting_orders.side = 'buy'
        and resting_orders.price_rank = -newest.bid
) as at_bid on true
left join lateral (
    select sum(resting_orders.open_shares) as shares
    from exchange.resting_orders
    where
        resting_orders.symbol_key = symbols.symbol_key
        and resting_orders.side = 'sell'
        and resting_orders.price_rank = newest.ask
) as at_ask on true;

comment on view exchange.best_bid_ask is
'Best bid and best ask of each symbol, from the newest row of updates. Cheap however deep the book is.';
comment on column exchange.best_bid_ask.sym is 'The symbol.';
comment on column exchange.best_bid_ask.bid is 'The highest limit of an open buy; null where there is none.';
comment on column exchange.best_bid_ask.bid_shares is 'Open shares at the bid.';
comment on column exchange.best_bid_ask.ask is 'The lowest limit of an open sell; null where there is none.';
comment on column exchange.best_bid_ask.ask_shares is 'Open shares at the ask.';
comment on column exchange.best_bid_ask.spread is 'Ask less bid; always more than 0.';
comment on column exchange.best_bid_ask.bid_since is
'Since when the best buy order has been the best (or there has been none), as far back as updates are kept.';
comment on column exchange.best_bid_ask.ask_since is
'Since when the best sell order has been the best (or there has been none), as far back as updates are kept.';
comment on column exchange.best_bid_ask.last_price is 'The price of the last trade; null where there was none.';
comment on column exchange.best_bid_ask.last_at is 'When that was.';
comment on column exchange.best_bid_ask.halted_at is 'Since when trading of the symbol is halted; null where it is not.';

create view exchange.depth as
select
    symbols.sym,
    level.side,
    trim_scale(abs(level.price_rank)) as price,
    level.orders,
    trim_scale(level.shares) as shares,
    trim_scale(
        sum(level.shares) over (partition by level.symbol_key, level.side order by level.price_rank)
    ) as shares_up_to_here
from (
    select
        resting_orders.symbol_key,
        resting_orders.side,
        resting_orders.price_rank,
        count(*) as orders,
        sum(resting_orders.open_shares) as shares
    from exchange.resting_orders
    group by resting_orders.symbol_key, resting_orders.side, resting_orders.price_rank
) as level
inner join exchange.symbols on level.symbol_key = symbols.symbol_key
order by symbols.sym, level.side, level.price_rank;

comment on view exchange.depth is 'The book summed up by price: each side of a symbol, best price first.';
comment on column exchange.depth.sym is 'The symbol.';
comment on column exchange.depth.side is 'buy or sell.';
comment on column exchange.depth.price is 'The limit.';
comment on column exchange.depth.orders is 'How many orders are open at this limit.';
comment on column exchange.depth.shares is 'Their open shares.';
comment on column exchange.depth.shares_up_to_here is 'Open shares at this limit and all better ones: what a taker gets who goes this far.';

create view exchange.tape as
select
    executions.execution_id,
    executions.executed_at,
    symbols.sym,
    trim_scale(executions.shares) as shares,
    trim_scale(executions.price) as price,
    trim_scale(executions.shares * executions.price) as value,
    case when executions.buy_order_id > executions.sell_order_id then 'buy' else 'sell' end::exchange.side as taker_side,
    executions.buy_order_id,
    executions.sell_order_id
from exchange.executions
inner join exchange.symbols on executions.symbol_key = symbols.symbol_key;

comment on view exchange.tape is 'Every fill. The newest first: order by execution_id desc limit 20.';
comment on column exchange.tape.execution_id is 'Ascends, within a symbol, in the order of execution.';
comment on column exchange.tape.executed_at is 'When.';
comment on column exchange.tape.sym is 'The symbol.';
comment on column exchange.tape.shares is 'How many shares changed hands.';
comment on column exchange.tape.price is 'Price of one share: the limit of the order that was open first.';
comment on column exchange.tape.value is 'Shares times price: what the seller got.';
comment on column exchange.tape.taker_side is 'The side of the order that came later and so set off the trade.';
comment on column exchange.tape.buy_order_id is 'The order that bought.';
comment on column exchange.tape.sell_order_id is 'The order that sold.';

create view exchange.open_orders as
select
    resting_orders.order_id,
    accounts.account_id,
    symbols.sym,
    resting_orders.side,
    trim_scale(abs(resting_orders.price_rank)) as limit_price,
    trim_scale(orders.shares) as shares,
    trim_scale(resting_orders.open_shares) as open_shares,
    trim_scale(
        case resting_orders.side when 'buy' then resting_orders.open_shares * -resting_orders.price_rank end
    ) as reserved_cash,
    trim_scale(case resting_orders.side when 'sell' then resting_orders.open_shares end) as reserved_shares,
    orders.placed_at,
    trim_scale(reduced.shares) as reduced_shares,
    order_terms.ref,
    order_terms.replaced_order_id
from exchange.resting_orders
inner join exchange.symbols on resting_orders.symbol_key = symbols.symbol_key
inner join exchange.accounts on resting_orders.account_key = accounts.account_key
left join exchange.orders on resting_orders.order_id = orders.order_id
left join exchange.order_terms on resting_orders.order_id = order_terms.order_id
left join lateral (
    select sum(reductions.shares) as shares
    from exchange.reductions
    where reductions.order_id = resting_orders.order_id
) as reduced on true;

comment on view exchange.open_orders is
'Every order that has open shares, with what is reserved for it. In the order of matching: see order_book.';
comment on column exchange.open_orders.order_id is 'The order.';
comment on column exchange.open_orders.account_id is 'The account that placed it.';
comment on column exchange.open_orders.sym is 'The symbol.';
comment on column exchange.open_orders.side is 'buy or sell.';
comment on column exchange.open_orders.limit_price is 'The highest price to buy at, the lowest to sell at.';
comment on column exchange.open_orders.shares is 'How many shares it was placed for.';
comment on column exchange.open_orders.open_shares is 'What is neither executed nor cancelled.';
comment on column exchange.open_orders.reserved_cash is 'Cash that has left the account for the open shares of a buy.';
comment on column exchange.open_orders.reserved_shares is 'Shares that have left the position for a sell.';
comment on column exchange.open_orders.placed_at is 'When it was placed.';
comment on column exchange.open_orders.reduced_shares is 'What reductions have cancelled of it; null where there was none.';
comment on column exchange.open_orders.ref is 'The client''s own name for it; null where it has none.';
comment on column exchange.open_orders.replaced_order_id is 'The order in whose place it was placed; null where it replaced none.';

-- A session that may have incoming orders holds an advisory lock for as long as it lives: begin_session takes it.
create view exchange.reserved_orders as
select
    incoming_orders.incoming_id,
    accounts.account_id,
    symbols.sym,
    incoming_orders.side,
    trim_scale(incoming_orders.limit_price) as limit_price,
    trim_scale(incoming_orders.shares) as shares,
    trim_scale(
        case incoming_orders.side
            when 'buy' then coalesce((incoming_orders.terms).budget, incoming_orders.shares * incoming_orders.limit_price)
        end
    ) as reserved_cash,
    trim_scale(case incoming_orders.side when 'sell' then incoming_orders.shares end) as reserved_shares,
    incoming_orders.session_pid,
    incoming_orders.session_pid not in (
        select pg_locks.objid::bigint
        from pg_catalog.pg_locks
        inner join pg_catalog.pg_database on pg_locks.database = pg_database.oid
        where
            pg_locks.locktype = 'advisory'
            and pg_locks.classid = 5002
            and pg_locks.objsubid = 2
            and pg_locks.granted
            and pg_database.datname = current_database()
    ) as is_orphan,
    (incoming_orders.terms).ref as ref,
    (incoming_orders.terms).type as type,
    (incoming_orders.terms).tif as tif,
    (incoming_orders.terms).post as post,
    (incoming_orders.terms).stp as stp
from exchange.incoming_orders
inner join exchange.symbols on incoming_orders.symbol_key = symbols.symbol_key
inner join exchange.accounts on incoming_orders.account_key = accounts.account_key;

comment on view exchange.reserved_orders is
'Orders on their way from reserve_orders to match_orders, each with what has left its account for it. They are matched within '
'milliseconds, or wait here for a symbol that somebody holds (lock_holders tells who).';
comment on column exchange.reserved_orders.incoming_id is 'Names it until it is in the market and gets an order_id.';
comment on column exchange.reserved_orders.account_id is 'The account that placed it.';
comment on column exchange.reserved_orders.sym is 'The symbol.';
comment on column exchange.reserved_orders.side is 'buy or sell.';
comment on column exchange.reserved_orders.limit_price is
'The highest price to buy at, the lowest to sell at; null for a market order.';
comment on column exchange.reserved_orders.shares is 'How many shares it is for.';
comment on column exchange.reserved_orders.reserved_cash is
'Cash that has left the account for a buy; for a market order its budget.';
comment on column exchange.reserved_orders.reserved_shares is 'Shares that have left the position for a sell.';
comment on column exchange.reserved_orders.session_pid is 'The database session that reserved, a gateway''s.';
comment on column exchange.reserved_orders.is_orphan is
'Whether that session is gone. Then give_back_orphans, which each gateway calls every few seconds, gives back what is reserved.';
comment on column exchange.reserved_orders.ref is 'The client''s own name for it; null where it has none.';
comment on column exchange.reserved_orders.type is 'limit or market; null where the client did not say, which is limit.';
comment on column exchange.reserved_orders.tif is 'GTC, IOC or FOK; null where the client did not say.';
comment on column exchange.reserved_orders.post is 'Whether it is to be refused if it would trade at once.';
comment on column exchange.reserved_orders.stp is 'What is to be cancelled rather than trade with an order of the same account.';

create view exchange.armed_switches as
select
    accounts.account_id,
    switches.after_seconds,
    switches.fires_at,
    switches.fires_at - clock_timestamp() as fires_in,
    (
        select count(*)
        from exchange.resting_orders
        where resting_orders.account_key = switches.account_key
    ) as open_orders
from exchange.switches
inner join exchange.accounts on switches.account_key = accounts.account_key
order by switches.fires_at, accounts.account_id;

comment on view exchange.armed_switches is
'Dead man''s switches that are armed, the next to fire first: unless its account says so again in time, all its open orders are cancelled.';
comment on column exchange.armed_switches.account_id is 'The account.';
comment on column exchange.armed_switches.after_seconds is 'How many seconds after it was armed it fires.';
comment on column exchange.armed_switches.fires_at is 'When it fires.';
comment on column exchange.armed_switches.fires_in is
'How long until then. Below 0 for more than two seconds: no gateway lives, or somebody holds a symbol (lock_holders tells who).';
comment on column exchange.armed_switches.open_orders is 'How many orders it would cancel now.';

-- A fill, a reduction or a cancel belongs to the turn of the newest order that there was: see account_statement.
create view exchange.order_history as
select
    events.order_id,
    accounts.account_id,
    symbols.sym,
    events.side,
    events.at,
    events.event,
    trim_scale(events.shares) as shares,
    trim_scale(events.price) as price,
    trim_scale(sum(events.opened) over (partition by events.order_id order by events.turn, events.step, events.entry_id)) as open_shares,
    events.other_order_id,
    events.execution_id,
    order_terms.ref
from (
    select
        orders.order_id,
        orders.account_key,
        orders.symbol_key,
        orders.side,
        orders.placed_at as at,
        'placed' as event,
        orders.shares,
        orders.limit_price as price,
        orders.shares as opened,
        orders.order_id as turn,
        0 as step,
        0 as entry_id,
        said.replaced_order_id as other_order_id,
        null::bigint as execution_id
    from exchange.orders
    left join exchange.order_terms as said on orders.order_id = said.order_id
    union all
    select
        orders.order_id,
        orders.account_key,
        orders.symbol_key,
        orders.side,
        executions.executed_at as at,
        'executed' as event,
        executions.shares,
        executions.price,
        -executions.shares as opened,
        greatest(executions.buy_order_id, executions.sell_order_id) as turn,
        executions.execution_id as step,
        0 as entry_id,
        executions.sell_order_id as other_order_id,
        executions.execution_id
    from exchange.orders
    inner join exchange.executions on orders.order_id = executions.buy_order_id
    union all
    select
        orders.order_id,
        orders.account_key,
        orders.symbol_key,
        orders.side,
        executions.executed_at as at,
        'executed' as event,
        executions.shares,
        executions.price,
        -executions.shares as opened,
        greatest(executions.buy_order_id, executions.sell_order_id) as turn,
        executions.execution_id as step,
        0 as entry_id,
        executions.buy_order_id as other_order_id,
        executions.execution_id
    from exchange.orders
    inner join exchange.executions on orders.order_id = executions.sell_order_id
    union all
    select
        orders.order_id,
        orders.account_key,
        orders.symbol_key,
        orders.side,
        reductions.reduced_at as at,
        'reduced' as event,
        reductions.shares,
        null as price,
        -reductions.shares as opened,
        reductions.after_order_id as turn,
        9223372036854775807 as step,
        reductions.entry_id,
        null as other_order_id,
        null as execution_id
    from exchange.orders
    inner join exchange.reductions on orders.order_id = reductions.order_id
    union all
    select
        orders.order_id,
        orders.account_key,
        orders.symbol_key,
        orders.side,
        cancellations.canceled_at as at,
        'canceled' as event,
        cancellations.shares,
        null as price,
        -cancellations.shares as opened,
        9223372036854775807 as turn,
        9223372036854775807 as step,
        cancellations.entry_id,
        coalesce(replacing.order_id, passing.order_id) as other_order_id,
        null as execution_id
    from exchange.orders
    inner join exchange.cancellations on orders.order_id = cancellations.order_id
    left join exchange.order_terms as replacing on cancellations.order_id = replacing.replaced_order_id
    left join (
        select
            later.order_id,
            passed.order_id as passed_order_id
        from exchange.order_terms as later
        cross join lateral unnest(later.passed_order_ids) as passed (order_id)
        where later.passed_order_ids is not null
    ) as passing on cancellations.order_id = passing.passed_order_id
) as events
inner join exchange.accounts on events.account_key = accounts.account_key
inner join exchange.symbols on events.symbol_key = symbols.symbol_key
left join exchange.order_terms on events.order_id = order_terms.order_id
order by events.order_id, events.turn, events.step, events.entry_id;

comment on view exchange.order_history is
'The life of each order: placed, each execution and reduction, canceled. Ask for one: where order_id = 4.';
comment on column exchange.order_history.order_id is 'The order.';
comment on column exchange.order_history.account_id is 'The account that placed it.';
comment on column exchange.order_history.sym is 'The symbol.';
comment on column exchange.order_history.side is 'buy or sell.';
comment on column exchange.order_history.at is 'When it happened.';
comment on column exchange.order_history.event is 'placed, executed, reduced or canceled.';
comment on column exchange.order_history.shares is 'Shares placed, executed, reduced or canceled.';
comment on column exchange.order_history.price is 'placed: the limit, null for a market order. executed: the price of one share.';
comment on column exchange.order_history.open_shares is 'What was still open afterwards.';
comment on column exchange.order_history.other_order_id is
'executed: the order that it traded with. placed: the order that it replaced. canceled: the order that replaced it, or that cancelled it '
'rather than trade with an order of the same account.';
comment on column exchange.order_history.execution_id is 'executed: the fill, in executions and tape.';
comment on column exchange.order_history.ref is 'The client''s own name for the order; null where it has none.';

-- Order ids tell what came first, and never the clock, which may be set back. A placed order's turn is its own id; a fill
-- belongs to the turn of the order that took it; a deposit or a cancel comes after all of the last turn before it. Each order of
-- an account was paid for by what had come in before its id was drawn, so no running balance is below zero. Those that have
-- no id yet come last.
create view exchange.account_statement as
select
    accounts.account_id,
    entries.at,
    entries.cause,
    symbols.sym,
    entries.order_id,
    entries.execution_id,
    trim_scale(nullif(entries.cash_change, 0)) as cash_change,
    trim_scale(sum(entries.cash_change) over by_account) as cash,
    trim_scale(entries.shares_change) as shares_change,
    trim_scale(sum(entries.shares_change) over by_position) as shares,
    row_number() over by_account as entry,
    order_terms.ref
from (
    select
        deposits.account_key,
        deposits.deposited_at as at,
        case when deposits.symbol_key is null then 'deposit' else 'grant' end as cause,
        deposits.symbol_key,
        null::bigint as order_id,
        null::bigint as execution_id,
        case when deposits.symbol_key is null then deposits.amount else 0 end as cash_change,
        case when deposits.symbol_key is not null then deposits.amount end as shares_change,
        deposits.after_order_id as turn,
        9223372036854775807 as step,
        deposits.deposit_id as entry_id
    from exchange.deposits
    union all
    select
        orders.account_key,
        orders.placed_at as at,
        'reserve' as cause,
        orders.symbol_key,
        orders.order_id,
        null as execution_id,
        case orders.side when 'buy' then -coalesce(said.budget, orders.shares * orders.limit_price) else 0 end as cash_change,
        case orders.side when 'sell' then -orders.shares end as shares_change,
        orders.order_id as turn,
        0 as step,
        0 as entry_id
    from exchange.orders
    left join exchange.order_terms as said on orders.order_id = said.order_id
    union all
    -- What was reserved above the price comes back with the shares; of a market order, which has no limit, after the last of them.
    select
        orders.account_key,
        executions.executed_at as at,
        'bought' as cause,
        executions.symbol_key,
        orders.order_id,
        executions.execution_id,
        executions.shares * coalesce(executions.buy_limit - executions.price, 0) as cash_change,
        executions.shares as shares_change,
        greatest(executions.buy_order_id, executions.sell_order_id) as turn,
        executions.execution_id as step,
        0 as entry_id
    from exchange.orders
    inner join exchange.executions on orders.order_id = executions.buy_order_id
    union all
    select
        orders.account_key,
        executions.executed_at as at,
        'sold' as cause,
        executions.symbol_key,
        orders.order_id,
        executions.execution_id,
        executions.shares * executions.price as cash_change,
        null as shares_change,
        greatest(executions.buy_order_id, executions.sell_order_id) as turn,
        executions.execution_id as step,
        0 as entry_id
    from exchange.orders
    inner join exchange.executions on orders.order_id = executions.sell_order_id
    union all
    select
        orders.account_key,
        orders.placed_at as at,
        'unspent' as cause,
        orders.symbol_key,
        orders.order_id,
        null as execution_id,
        promised.budget - coalesce(paid.cash, 0) as cash_change,
        null as shares_change,
        orders.order_id as turn,
        9223372036854775807 as step,
        0 as entry_id
    from exchange.orders
    inner join exchange.order_terms as promised on orders.order_id = promised.order_id
    left join (
        select
            executions.buy_order_id,
            sum(executions.shares * executions.price) as cash
        from exchange.executions
        where executions.buy_limit is null
        group by executions.buy_order_id
    ) as paid on orders.order_id = paid.buy_order_id
    where promised.budget > coalesce(paid.cash, 0)
    union all
    select
        orders.account_key,
        ended.at,
        ended.cause,
        orders.symbol_key,
        orders.order_id,
        null as execution_id,
        case orders.side when 'buy' then ended.shares * orders.limit_price else 0 end as cash_change,
        case orders.side when 'sell' then ended.shares end as shares_change,
        ended.after_order_id as turn,
        9223372036854775807 as step,
        ended.entry_id
    from exchange.orders
    inner join (
        select
            cancellations.order_id,
            'cancel' as cause,
            cancellations.canceled_at as at,
            cancellations.shares,
            cancellations.after_order_id,
            cancellations.entry_id
        from exchange.cancellations
        union all
        select
            reductions.order_id,
            'reduce' as cause,
            reductions.reduced_at as at,
            reductions.shares,
            reductions.after_order_id,
            reductions.entry_id
        from exchange.reductions
    ) as ended on orders.order_id = ended.order_id
    -- What is cancelled of a market buy gives back nothing by itself: see unspent.
    where orders.side = 'sell' or orders.limit_price is not null
    union all
    select
        incoming_orders.account_key,
        null as at,
        'incoming' as cause,
        incoming_orders.symbol_key,
        null as order_id,
        null as execution_id,
        case incoming_orders.side
            when 'buy' then -coalesce((incoming_orders.terms).budget, incoming_orders.shares * incoming_orders.limit_price)
            else 0
        end as cash_change,
        case incoming_orders.side when 'sell' then -incoming_orders.shares end as shares_change,
        9223372036854775807 as turn,
        9223372036854775807 as step,
        incoming_orders.incoming_id as entry_id
    from exchange.incoming_orders
) as entries
inner join exchange.accounts on entries.account_key = accounts.account_key
left join exchange.symbols on entries.symbol_key = symbols.symbol_key
left join exchange.order_terms on entries.order_id = order_terms.order_id
window
    by_account as (
        partition by accounts.account_id
        order by entries.turn, entries.step, entries.entry_id, entries.order_id
        rows unbounded preceding
    ),
    by_position as (
        partition by accounts.account_id, symbols.sym
        order by entries.turn, entries.step, entries.entry_id, entries.order_id
        rows unbounded preceding
    )
order by accounts.account_id, entry;

comment on view exchange.account_statement is
'Every change of what an account can spend or sell, with its cause and the running balance; the last ones are what '
'account_balances and account_positions say. In the order of events, whatever the clock said. Ask for one: where account_id = ''1''. '
'Reads the whole history of orders, which has no index by account: ask a standby if it is long.';
comment on column exchange.account_statement.account_id is 'The account.';
comment on column exchange.account_statement.at is 'When; null for an incoming order.';
comment on column exchange.account_statement.cause is
'deposit (of money), grant (of shares), reserve (an order was placed), bought (shares come in, and what was reserved above '
'the price goes back), sold (money comes in), unspent (what is left of a market order''s budget goes back), cancel (what was reserved '
'for the open part goes back), reduce (what was reserved for so much of the open part goes back), incoming (an order that '
'is reserved for and not in the market yet: next it will be a reserve, or come back).';
comment on column exchange.account_statement.sym is 'The symbol; null for a deposit.';
comment on column exchange.account_statement.order_id is 'The account''s order; null for a deposit, grant or incoming order.';
comment on column exchange.account_statement.execution_id is 'The fill, where it is one.';
comment on column exchange.account_statement.cash_change is 'Money that came (went, if negative); null where none did.';
comment on column exchange.account_statement.cash is 'Free cash afterwards.';
comment on column exchange.account_statement.shares_change is 'Shares that came (went, if negative); null where none did.';
comment on column exchange.account_statement.shares is 'Free shares of this symbol afterwards.';
comment on column exchange.account_statement.entry is 'Numbers the account''s entries, from 1.';
comment on column exchange.account_statement.ref is 'The client''s own name for the order; null where it has none.';

create view exchange.daily_volume as
select
    executions.executed_at::date as day,
    symbols.sym,
    count(*) as trades,
    trim_scale(sum(executions.shares)) as shares,
    trim_scale(sum(executions.shares * executions.price)) as value,
    trim_scale((array_agg(executions.price order by executions.execution_id))[1]) as open,
    trim_scale(max(executions.price)) as high,
    trim_scale(min(executions.price)) as low,
    trim_scale((array_agg(executions.price order by executions.execution_id desc))[1]) as close,
    round(
        sum(executions.shares * executions.price) / sum(executions.shares),
        greatest(4, max(min_scale(executions.price)))
    ) as vwap
from exchange.executions
inner join exchange.symbols on executions.symbol_key = symbols.symbol_key
group by executions.executed_at::date, symbols.sym
order by executions.executed_at::date desc, symbols.sym asc;

comment on view exchange.daily_volume is 'What was traded on each day (of the session''s time zone), by symbol; the newest day first.';
comment on column exchange.daily_volume.day is 'The day.';
comment on column exchange.daily_volume.sym is 'The symbol.';
comment on column exchange.daily_volume.trades is 'How many fills.';
comment on column exchange.daily_volume.shares is 'How many shares changed hands.';
comment on column exchange.daily_volume.value is 'What was paid for them.';
comment on column exchange.daily_volume.open is 'Price of the first fill.';
comment on column exchange.daily_volume.high is 'Highest price.';
comment on column exchange.daily_volume.low is 'Lowest price.';
comment on column exchange.daily_volume.close is 'Price of the last fill.';
comment on column exchange.daily_volume.vwap is
'Price of a share on average (value by shares), rounded to four digits, or to as many as the finest price has.';

-- The slot is what symbol_slot(symbol_key) says; views come before functions, so it is written out here, and a test compares.
create view exchange.symbol_locks as
select
    symbols.sym,
    symbols.symbol_key & 63 as slot,
    holder.pid as holder_pid,
    holder.application_name as holder,
    holder.state as holder_state,
    holder.held_for,
    coalesce(waiting.waiters, 0) as waiters,
    waiting.longest_wait,
    waiting.pids as waiter_pids
from exchange.symbols
left join (
    select
        pg_locks.objid::bigint as slot,
        pg_locks.pid,
        pg_stat_activity.application_name,
        pg_stat_activity.state,
        clock_timestamp() - pg_stat_activity.xact_start as held_for
    from pg_catalog.pg_locks
    inner join pg_catalog.pg_database on pg_locks.database = pg_database.oid
    left join pg_catalog.pg_stat_activity on pg_locks.pid = pg_stat_activity.pid
    where
        pg_locks.locktype = 'advisory'
        and pg_locks.classid = 5000
        and pg_locks.objsubid = 2
        and pg_locks.granted
        and pg_database.datname = current_database()
) as holder on symbols.symbol_key & 63 = holder.slot
left join (
    select
        pg_locks.objid::bigint as slot,
        count(*) as waiters,
        clock_timestamp() - min(pg_locks.waitstart) as longest_wait,
        array_agg(pg_locks.pid order by pg_locks.waitstart) as pids
    from pg_catalog.pg_locks
    inner join pg_catalog.pg_database on pg_locks.database = pg_database.oid
    where
        pg_locks.locktype = 'advisory'
        and pg_locks.classid = 5000
        and pg_locks.objsubid = 2
        and not pg_locks.granted
        and pg_database.datname = current_database()
    group by pg_locks.objid::bigint
) as waiting on symbols.symbol_key & 63 = waiting.slot
order by symbols.sym;

comment on view exchange.symbol_locks is
'What the lock of each symbol is doing now: who holds it and who waits. Only the holder matches orders of the symbol; '
'symbols of one slot share a lock.';
comment on column exchange.symbol_locks.sym is 'The symbol.';
comment on column exchange.symbol_locks.slot is 'Its slot: objid of the advisory lock in pg_locks, with classid 5000.';
comment on column exchange.symbol_locks.holder_pid is 'The backend that holds it; null where it is free.';
comment on column exchange.symbol_locks.holder is
'The holder''s application name. Like the next two null without the rights of pg_read_all_stats.';
comment on column exchange.symbol_locks.holder_state is
'active: its batch is being carried out. idle in transaction: somebody left a transaction open, and the market waits.';
comment on column exchange.symbol_locks.held_for is 'Since the holder''s transaction began; it has held the lock no longer than that.';
comment on column exchange.symbol_locks.waiters is 'How many backends wait for it.';
comment on column exchange.symbol_locks.longest_wait is 'For how long the first of them has waited.';
comment on column exchange.symbol_locks.waiter_pids is 'The backends that wait, the longest first.';

create view exchange.unsettled_credits as
select
    accounts.account_id,
    symbols.sym,
    owed.credits,
    trim_scale(owed.cash) as cash,
    trim_scale(owed.shares) as shares
from (
    select
        credits.account_key,
        credits.symbol_key,
        count(*) as credits,
        sum(credits.cash) as cash,
        sum(credits.shares) as shares
    from exchange.credits
    group by credits.account_key, credits.symbol_key
) as owed
inner join exchange.accounts on owed.account_key = accounts.account_key
left join exchange.symbols on owed.symbol_key = symbols.symbol_key
order by owed.credits desc, accounts.account_id asc, symbols.sym asc;

comment on view exchange.unsettled_credits is
'What accounts are owed and has not been folded into their rows yet, most rows first. Should stay small: a sweep '
'(settle_idle_accounts, called by each gateway) folds what idle accounts are owed.';
comment on column exchange.unsettled_credits.account_id is 'The account.';
comment on column exchange.unsettled_credits.sym is 'The symbol of the shares, and whence the money comes.';
comment on column exchange.unsettled_credits.credits is 'How many rows of credits.';
comment on column exchange.unsettled_credits.cash is 'The sum of their money.';
comment on column exchange.unsettled_credits.shares is 'The sum of their shares.';

create view exchange.relation_bloat as
select
    sized.relation,
    sized.kind,
    pg_size_pretty(sized.bytes) as size,
    sized.rows_estimated,
    sized.dead_rows,
    pg_size_pretty(greatest(sized.bytes - sized.bytes_needed, 0)) as bloat,
    round(100.0 * greatest(sized.bytes - sized.bytes_needed, 0) / nullif(sized.bytes, 0)) as bloat_percent,
    sized.hot_percent,
    sized.last_vacuum,
    sized.vacuums
from (
    select
        relation.relname as relation,
        case relation.relkind when 'i' then 'index' else 'table' end as kind,
        pg_relation_size(relation.oid) as bytes,
        greatest(relation.reltuples, 0)::bigint as rows_estimated,
        case when relation.relkind = 'r' then activity.n_dead_tup end as dead_rows,
        -- Pages of 8 kB, each with a header of 24 bytes (an index has 16 more), filled as the storage parameter says,
        -- and an index with a page of its own in front.
        8192 * (
            (relation.relkind = 'i')::integer + ceil(
                greatest(relation.reltuples, 0) * width.bytes
                / (
                    (8168 - 16 * (relation.relkind = 'i')::integer)
                    * coalesce(filled.factor, case relation.relkind when 'i' then 90 else 100 end) / 100.0
                )
            )
        )::bigint as bytes_needed,
        case
            when relation.relkind = 'r' then round(100.0 * activity.n_tup_hot_upd / nullif(activity.n_tup_upd, 0))
        end as hot_percent,
        case when relation.relkind = 'r' then greatest(activity.last_vacuum, activity.last_autovacuum) end as last_vacuum,
        case when relation.relkind = 'r' then activity.vacuum_count + activity.autovacuum_count end as vacuums
    from pg_catalog.pg_class as relation
    left join pg_catalog.pg_index on relation.oid = pg_index.indexrelid
    inner join pg_catalog.pg_stat_user_tables as activity on coalesce(pg_index.indrelid, relation.oid) = activity.relid
    left join lateral (
        select option.option_value::integer as factor
        from pg_options_to_table(relation.reloptions) as option
        where option.option_name = 'fillfactor'
    ) as filled on true
    left join lateral (
        -- A row: its header, its line pointer, and its columns on average, each row at a multiple of 8 bytes.
        select
            4 + 8 * ceil(
                (case relation.relkind when 'i' then 8 else 24 end + sum(pg_stats.avg_width * (1 - pg_stats.null_frac))) / 8
            ) as bytes
        from pg_catalog.pg_attribute
        inner join pg_catalog.pg_stats
            on
                activity.schemaname = pg_stats.schemaname
                and activity.relname = pg_stats.tablename
                and pg_attribute.attname = pg_stats.attname
        where pg_attribute.attrelid = relation.oid and pg_attribute.attnum > 0
    ) as width on true
    where activity.schemaname = 'exchange' and relation.relkind in ('r', 'i')
) as sized
order by sized.bytes desc, sized.relation asc;

comment on view exchange.relation_bloat is
'Size of each table and index, and how much of it an empty copy of the same rows would not need: an estimate, from '
'the statistics of the last analyze. Free space is normal where rows come and go; growth of it is not.';
comment on column exchange.relation_bloat.relation is 'The table or index.';
comment on column exchange.relation_bloat.kind is 'table or index.';
comment on column exchange.relation_bloat.size is 'Its size on disk.';
comment on column exchange.relation_bloat.rows_estimated is 'Rows, as the last vacuum or analyze saw them.';
comment on column exchange.relation_bloat.dead_rows is 'Rows that wait for vacuum; only for tables.';
comment on column exchange.relation_bloat.bloat is 'Estimated bytes beyond what the rows need; null before the first analyze.';
comment on column exchange.relation_bloat.bloat_percent is 'The same, as a part of the size.';
comment on column exchange.relation_bloat.hot_percent is
'Updates that touched no index (heap-only): the fillfactor is right where this is near 100.';
comment on column exchange.relation_bloat.last_vacuum is 'When it was vacuumed last, by hand or by itself.';
comment on column exchange.relation_bloat.vacuums is 'How often it was vacuumed since the statistics were reset.';

create view exchange.history as
with
-- What a match, or a replace, cancelled: which order caused it, and which it ended.
caused as (
    select
        order_terms.order_id as cause_id,
        order_terms.replaced_order_id as order_id,
        1 as step,
        0::bigint as part
    from exchange.order_terms
    where order_terms.replaced_order_id is not null
    union all
    select
        order_terms.order_id as cause_id,
        passed.order_id,
        3 as step,
        passed.ordinality as part
    from exchange.order_terms
    cross join lateral unnest(order_terms.passed_order_ids) with ordinality as passed (order_id)
    union all
    select
        order_terms.order_id as cause_id,
        order_terms.order_id,
        4 as step,
        0 as part
    from exchange.order_terms
    where order_terms.canceled_shares > 0
)

select
    told.place,
    told.step,
    told.part,
    told.event,
    told.at,
    whose.account_id,
    traded.sym,
    told.order_id,
    told.other_order_id,
    told.side,
    told.shares,
    told.price,
    told.cash,
    terms.ref,
    terms.type,
    terms.tif,
    terms.post,
    terms.stp,
    terms.released_shares,
    terms.executed_shares,
    terms.canceled_shares,
    terms.passed_order_ids
from (
    select
        0::bigint as place,
        -2 as step,
        accounts.account_key as part,
        'account' as event,
        accounts.created_at as at,
        accounts.account_key,
        null::bigint as symbol_key,
        null::bigint as order_id,
        null::bigint as other_order_id,
        null::exchange.side,
        null::numeric as shares,
        null::numeric as price,
        coalesce(opening.cash, 0) as cash,
        null::bigint as terms_of
    from exchange.accounts
    left join (
        select
            deposits.account_key,
            sum(deposits.amount) as cash
        from exchange.deposits
        where deposits.symbol_key is null
        group by deposits.account_key
    ) as opening on accounts.account_key = opening.account_key
    union all
    select
        0 as place,
        -1 as step,
        symbols.symbol_key as part,
        'symbol' as event,
        symbols.created_at as at,
        null as account_key,
        symbols.symbol_key,
        null as order_id,
        null as other_order_id,
        null as side,
        null as shares,
        null as price,
        null as cash,
        null as terms_of
    from exchange.symbols
    union all
    select
        deposits.after_order_id as place,
        5 as step,
        deposits.deposit_id as part,
        'grant' as event,
        deposits.deposited_at as at,
        deposits.account_key,
        deposits.symbol_key,
        null as order_id,
        null as other_order_id,
        null as side,
        deposits.amount as shares,
        null as price,
        null as cash,
        null as terms_of
    from exchange.deposits
    where deposits.symbol_key is not null
    union all
    select
        orders.order_id as place,
        0 as step,
        0 as part,
        case when order_terms.replaced_order_id is null then 'order' else 'replace' end as event,
        orders.placed_at as at,
        orders.account_key,
        orders.symbol_key,
        orders.order_id,
        order_terms.replaced_order_id as other_order_id,
        orders.side,
        orders.shares,
        orders.limit_price as price,
        order_terms.budget as cash,
        order_terms.order_id as terms_of
    from exchange.orders
    left join exchange.order_terms on orders.order_id = order_terms.order_id -- noqa: ST09
    union all
    select
        greatest(executions.buy_order_id, executions.sell_order_id) as place,
        2 as step,
        executions.execution_id as part,
        'fill' as event,
        executions.executed_at as at,
        null as account_key,
        executions.symbol_key,
        executions.buy_order_id as order_id,
        executions.sell_order_id as other_order_id,
        null as side,
        executions.shares,
        executions.price,
        null as cash,
        null as terms_of
    from exchange.executions
    union all
    select
        coalesce(caused.cause_id, cancellations.after_order_id) as place,
        coalesce(caused.step, 5) as step,
        coalesce(caused.part, cancellations.entry_id) as part,
        case when caused.cause_id is null then 'cancel' else 'canceled' end as event,
        cancellations.canceled_at as at,
        orders.account_key,
        orders.symbol_key,
        cancellations.order_id,
        caused.cause_id as other_order_id,
        null as side,
        cancellations.shares,
        null as price,
        null as cash,
        null as terms_of
    from exchange.cancellations
    left join caused on cancellations.order_id = caused.order_id
    left join exchange.orders on cancellations.order_id = orders.order_id
    union all
    select
        reductions.after_order_id as place,
        5 as step,
        reductions.entry_id as part,
        'reduce' as event,
        reductions.reduced_at as at,
        orders.account_key,
        orders.symbol_key,
        reductions.order_id,
        null as other_order_id,
        null as side,
        reductions.shares,
        null as price,
        null as cash,
        null as terms_of
    from exchange.reductions
    left join exchange.orders on reductions.order_id = orders.order_id
) as told
left join exchange.accounts as whose on told.account_key = whose.account_key
left join exchange.symbols as traded on told.symbol_key = traded.symbol_key
left join exchange.order_terms as terms on told.terms_of = terms.order_id
order by told.place, told.step, told.part;

comment on view exchange.history is
'All that happened, in an order in which it can be carried out again. Accounts and symbols, then orders by id, each followed by what it '
'brought about at once, and by the grants, cancels and reductions until the next one. Within a symbol that is the order in which it '
'happened; between symbols another order would do as well. No account is ever short of what an order takes, for what pays for an order '
'has a lower place. `pgbourse export` writes it, `pgbourse replay` carries it out.';
comment on column exchange.history.place is
'The order that this is, or belongs to, or comes after: order_id of that. 0 before the first.';
comment on column exchange.history.step is
'Within a place: 0 the order; 1 the order that it replaced; 2 its fills; 3 own orders that it passed; 4 what was cancelled of it at '
'once; 5 what came after it. Accounts (-2) and symbols (-1) come before all, whenever they were made.';
comment on column exchange.history.part is 'Within a step: execution_id, deposit_id, entry_id, or a place in passed_order_ids.';
comment on column exchange.history.event is
'What was done: account, symbol, grant, order, replace, cancel, reduce; or what came of it: fill, canceled. Refused requests '
'leave no trace.';
comment on column exchange.history.at is 'When.';
comment on column exchange.history.account_id is 'The account that did it, or was made or given shares; null for a fill.';
comment on column exchange.history.sym is 'The symbol.';
comment on column exchange.history.order_id is 'The order; of a fill, the one that bought.';
comment on column exchange.history.other_order_id is
'Of a replace the order that it replaced, of a fill the one that sold, of canceled the one that caused it.';
comment on column exchange.history.side is 'Of an order or a replace: buy or sell.';
comment on column exchange.history.shares is
'Shares: of an order as placed, with the decimals that its client wrote; of a grant, a fill, or that were cancelled. Numbers have all '
'their digits, for the decimals of its amount tell by which steps a market order buys.';
comment on column exchange.history.price is 'The limit of an order, null for a market order; the price of a fill.';
comment on column exchange.history.cash is 'The opening balance of an account; the budget of a market buy.';
comment on column exchange.history.ref is 'Of an order, as in order_terms, like all that follows.';
comment on column exchange.history.type is 'limit or market; null where the client did not say.';
comment on column exchange.history.tif is 'GTC, IOC or FOK; null where the client did not say.';
comment on column exchange.history.post is 'Whether it was post only; null for an order that said nothing of all this.';
comment on column exchange.history.stp is 'What was to be cancelled rather than trade with an order of the same account.';
comment on column exchange.history.released_shares is 'Of a replace, the open shares of the old order, which were cancelled.';
comment on column exchange.history.executed_shares is 'Shares filled when it was placed, if its client was told.';
comment on column exchange.history.canceled_shares is 'Shares cancelled when it was placed, likewise.';
comment on column exchange.history.passed_order_ids is 'The own orders that it passed, in that order.';

reset role;

-- symbol_locks and lock_holders (which runs as the owner) show what the holder of a lock is doing, which is for the eyes of
-- pg_read_all_stats. Where whoever migrates may not pass that on, they show names alone.
do $$
begin
    grant pg_read_all_stats to exchange_owner, exchange_reader;
exception
    when insufficient_privilege then
        raise notice 'exchange_reader is not in pg_read_all_stats: symbol_locks and lock_holders show no states and times of lock holders';
end
$$;
