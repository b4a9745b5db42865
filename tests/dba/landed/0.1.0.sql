--
-- PostgreSQL database dump
--

\restrict nUMj7jJh2IaQZ8cQNMl5TehzeylndHltWhc4Cmv8HPmf6iefha5bw3juAXHmHJT

-- Dumped from database version 15.20 (Debian 15.20-0+deb12u1)
-- Dumped by pg_dump version 15.20 (Debian 15.20-0+deb12u1)

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- Name: exchange; Type: SCHEMA; Schema: -; Owner: exchange_owner
--

CREATE SCHEMA exchange;


ALTER SCHEMA exchange OWNER TO exchange_owner;

--
-- Name: SCHEMA exchange; Type: COMMENT; Schema: -; Owner: exchange_owner
--

COMMENT ON SCHEMA exchange IS 'A stock exchange. The functions match, lock and settle; the tables hold the book, the balances and the history; the views are what to read. Start with exchange.account_balances, exchange.order_book and exchange.place_order.';


--
-- Name: answer; Type: TYPE; Schema: exchange; Owner: exchange_owner
--

CREATE TYPE exchange.answer AS (
	request integer,
	outcome text,
	order_id bigint,
	shares numeric,
	price numeric,
	at timestamp with time zone,
	code text,
	message text
);


ALTER TYPE exchange.answer OWNER TO exchange_owner;

--
-- Name: TYPE answer; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON TYPE exchange.answer IS 'What came of a request of a batch: one row, or for a query or a cancel one row for each part of the order''s life.';


--
-- Name: COLUMN answer.request; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.answer.request IS 'The request''s place in the batch, from 1.';


--
-- Name: COLUMN answer.outcome; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.answer.outcome IS 'created, opened, refused; or of a queried or cancelled order the part that is open, executed or canceled.';


--
-- Name: COLUMN answer.order_id; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.answer.order_id IS 'The order''s id, where there is an order.';


--
-- Name: COLUMN answer.shares; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.answer.shares IS 'Shares open, executed or canceled.';


--
-- Name: COLUMN answer.price; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.answer.price IS 'Price of one executed share.';


--
-- Name: COLUMN answer.at; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.answer.at IS 'When it was executed or canceled.';


--
-- Name: COLUMN answer.code; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.answer.code IS 'Why it was refused, for programs: insufficient_funds, unknown_order, and so on.';


--
-- Name: COLUMN answer.message; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.answer.message IS 'Why it was refused, for people.';


--
-- Name: side; Type: TYPE; Schema: exchange; Owner: exchange_owner
--

CREATE TYPE exchange.side AS ENUM (
    'buy',
    'sell'
);


ALTER TYPE exchange.side OWNER TO exchange_owner;

--
-- Name: TYPE side; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON TYPE exchange.side IS 'Which side of the book an order is on.';


--
-- Name: cancel_open_orders(text); Type: FUNCTION; Schema: exchange; Owner: exchange_owner
--

CREATE FUNCTION exchange.cancel_open_orders(p_account_id text) RETURNS TABLE(order_id bigint, outcome text, shares numeric, price numeric, at timestamp with time zone, code text, message text)
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'exchange', 'pg_temp'
    AS $$
select
    canceled.order_id,
    canceled.outcome,
    canceled.shares,
    canceled.price,
    to_timestamp(canceled.at),
    canceled.code,
    canceled.message
from (
    select array_agg(resting_orders.order_id order by resting_orders.order_id) as order_ids
    from exchange.resting_orders
    inner join exchange.accounts on resting_orders.account_key = accounts.account_key
    where accounts.account_id = p_account_id
) as resting
cross join lateral exchange.process_batch(
    array_fill(1, array[cardinality(resting.order_ids)]),
    array_fill('cancel_order'::text, array[cardinality(resting.order_ids)]),
    array_fill(p_account_id, array[cardinality(resting.order_ids)]),
    array_fill(null::text, array[cardinality(resting.order_ids)]),
    array_fill(null::numeric, array[cardinality(resting.order_ids)]),
    array_fill(null::numeric, array[cardinality(resting.order_ids)]),
    resting.order_ids
) as canceled
where resting.order_ids is not null
$$;


ALTER FUNCTION exchange.cancel_open_orders(p_account_id text) OWNER TO exchange_owner;

--
-- Name: FUNCTION cancel_open_orders(p_account_id text); Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON FUNCTION exchange.cancel_open_orders(p_account_id text) IS 'Cancels every open order of an account, in a transaction of its own. Rows as cancel_order gives them, with the order that each is of; none where nothing was open.';


--
-- Name: cancel_order(text, bigint); Type: FUNCTION; Schema: exchange; Owner: exchange_owner
--

CREATE FUNCTION exchange.cancel_order(p_account_id text, p_order_id bigint) RETURNS TABLE(outcome text, shares numeric, price numeric, at timestamp with time zone, code text, message text)
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'exchange', 'pg_temp'
    AS $$
select
    answer.outcome,
    answer.shares,
    answer.price,
    to_timestamp(answer.at),
    answer.code,
    answer.message
from exchange.process_batch(
    array[1], array['cancel_order'], array[p_account_id], array[null], array[null::numeric], array[null::numeric], array[p_order_id]
) as answer
$$;


ALTER FUNCTION exchange.cancel_order(p_account_id text, p_order_id bigint) OWNER TO exchange_owner;

--
-- Name: FUNCTION cancel_order(p_account_id text, p_order_id bigint); Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON FUNCTION exchange.cancel_order(p_account_id text, p_order_id bigint) IS 'Cancels what is open of an order of this account and gives back what was reserved for it. Rows as query_order gives them, or one row refused with the reason.';


--
-- Name: cancel_orders(integer[], text[], bigint[], integer[]); Type: FUNCTION; Schema: exchange; Owner: exchange_owner
--

CREATE FUNCTION exchange.cancel_orders(p_requests integer[], p_account_ids text[], p_order_ids bigint[], p_symbol_slots integer[]) RETURNS SETOF exchange.answer
    LANGUAGE plpgsql
    AS $$
declare
    c_now constant timestamptz := clock_timestamp();
    v_canceled integer[]; -- the requests that ended something: the first for an order, where it has an open part
    v_symbol_keys integer[];
    v_sides exchange.side[];
    v_price_ranks numeric[];
    v_order_ids bigint[];
begin
    with asked as (
        select distinct on (request.order_id)
            request.request,
            request.order_id,
            owned.account_key,
            owned.symbol_key,
            owned.side,
            owned.limit_price,
            case owned.side when 'buy' then -owned.limit_price else owned.limit_price end as price_rank
        from unnest(p_requests, p_account_ids, p_order_ids) as request (request, account_id, order_id)
        cross join lateral (
            select
                orders.account_key,
                orders.symbol_key,
                orders.side,
                orders.limit_price,
                (select symbols.sym from exchange.symbols where symbols.symbol_key = orders.symbol_key) as sym
            from exchange.orders
            inner join exchange.accounts on orders.account_key = accounts.account_key
            where orders.order_id = request.order_id and accounts.account_id = request.account_id
            offset 0
        ) as owned
        where exchange.symbol_slot(owned.sym) = any(p_symbol_slots)
        order by request.order_id, request.request
    ),

    ended as (
        delete from exchange.resting_orders
        using asked
        where
            resting_orders.symbol_key = asked.symbol_key
            and resting_orders.side = asked.side
            and resting_orders.price_rank = asked.price_rank
            and resting_orders.order_id = asked.order_id
        returning
            asked.request,
            asked.order_id,
            asked.account_key,
            asked.symbol_key,
            asked.side,
            asked.price_rank,
            asked.limit_price,
            resting_orders.open_shares
    ),

    noted as (
        insert into exchange.cancellations (order_id, shares, canceled_at)
        select
            ended.order_id,
            ended.open_shares,
            c_now
        from ended
    ),

    refunded as (
        insert into exchange.credits (account_key, symbol_key, amount)
        select
            ended.account_key,
            case ended.side when 'sell' then ended.symbol_key end,
            case ended.side when 'sell' then ended.open_shares else ended.open_shares * ended.limit_price end
        from ended
    )

    select
        coalesce(array_agg(ended.request), '{}'),
        array_agg(ended.symbol_key),
        array_agg(ended.side),
        array_agg(ended.price_rank),
        array_agg(ended.order_id)
    into v_canceled, v_symbol_keys, v_sides, v_price_ranks, v_order_ids
    from ended;

    perform exchange.quote(v_symbol_keys, v_sides, v_price_ranks, v_order_ids, c_now);

    -- What a cancelled order looks like now is what a query would say; the others keep a query's refusal, or get
    -- one because nothing of them was open.
    return query
    select
        answer.request,
        answer.outcome,
        answer.order_id,
        answer.shares,
        answer.price,
        answer.at,
        answer.code,
        answer.message
    from exchange.query_orders(p_requests, p_account_ids, p_order_ids) as answer
    where answer.request = any(v_canceled) or answer.outcome = 'refused'
    union all
    select
        request.request,
        'refused',
        request.order_id,
        null,
        null,
        null,
        case when locked.is_locked then 'nothing_open' else 'unknown_order' end,
        format(
            case when locked.is_locked then 'order %s has no open shares to cancel' else 'no such order: %s' end,
            request.order_id
        )
    from unnest(p_requests, p_account_ids, p_order_ids) as request (request, account_id, order_id)
    cross join lateral (
        select (select symbols.sym from exchange.symbols where symbols.symbol_key = orders.symbol_key) as sym
        from exchange.orders
        inner join exchange.accounts on orders.account_key = accounts.account_key
        where orders.order_id = request.order_id and accounts.account_id = request.account_id
        offset 0
    ) as owned
    cross join lateral (select exchange.symbol_slot(owned.sym) = any(p_symbol_slots) as is_locked) as locked
    where not request.request = any(v_canceled);
end
$$;


ALTER FUNCTION exchange.cancel_orders(p_requests integer[], p_account_ids text[], p_order_ids bigint[], p_symbol_slots integer[]) OWNER TO exchange_owner;

--
-- Name: FUNCTION cancel_orders(p_requests integer[], p_account_ids text[], p_order_ids bigint[], p_symbol_slots integer[]); Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON FUNCTION exchange.cancel_orders(p_requests integer[], p_account_ids text[], p_order_ids bigint[], p_symbol_slots integer[]) IS 'Ends the open part of orders, each for the account that placed it, and owes the account what was reserved for it. Rows as query_orders gives them, or refused. The caller holds the symbols'' locks: use cancel_order for one.';


--
-- Name: check_book(); Type: FUNCTION; Schema: exchange; Owner: exchange_owner
--

CREATE FUNCTION exchange.check_book() RETURNS TABLE(invariant text, subject text, detail text)
    LANGUAGE sql STABLE
    AS $$
with best as (
    select distinct on (resting_orders.symbol_key, resting_orders.side)
        resting_orders.symbol_key,
        resting_orders.side,
        resting_orders.price_rank,
        resting_orders.order_id
    from exchange.resting_orders
    order by resting_orders.symbol_key, resting_orders.side, resting_orders.price_rank, resting_orders.order_id
),

quoted as (
    select distinct on (quotes.symbol_key, quotes.side)
        quotes.symbol_key,
        quotes.side,
        quotes.price_rank,
        quotes.order_id
    from exchange.quotes
    order by quotes.symbol_key, quotes.side, quotes.quote_id desc
),

repeated as (
    select
        resting_orders.order_id,
        count(*) as times
    from exchange.resting_orders
    group by resting_orders.order_id
    having count(*) > 1
)

select
    'book_is_not_crossed',
    format('symbol %s', coalesce(symbols.sym, 'with key ' || bid.symbol_key)),
    format(
        'order %s buys at %s and order %s sells at %s',
        bid.order_id, trim_scale(-bid.price_rank), ask.order_id, trim_scale(ask.price_rank)
    )
from best as bid
inner join best as ask on bid.symbol_key = ask.symbol_key
left join exchange.symbols on bid.symbol_key = symbols.symbol_key
where bid.side = 'buy' and ask.side = 'sell' and -bid.price_rank >= ask.price_rank
union all
select
    'quote_is_best_order',
    format('symbol %s, %s', coalesce(symbols.sym, 'with key ' || symbol_key), side),
    format('the best order is %s, quoted is %s', coalesce(best.order_id, 0), coalesce(quoted.order_id, 0))
from best
full join quoted using (symbol_key, side)
left join exchange.symbols using (symbol_key)
where
    coalesce(best.price_rank, 'Infinity') <> coalesce(quoted.price_rank, 'Infinity')
    or coalesce(best.order_id, 0) <> coalesce(quoted.order_id, 0)
union all
select
    'resting_order_agrees_with_order',
    format('order %s', orders.order_id),
    format(
        'in the book: symbol %s, %s at %s, account %s; as placed: symbol %s, %s at %s, account %s (keys)',
        resting_orders.symbol_key, resting_orders.side, trim_scale(abs(resting_orders.price_rank)), resting_orders.account_key,
        orders.symbol_key, orders.side, trim_scale(orders.limit_price), orders.account_key
    )
from exchange.resting_orders
inner join exchange.orders on resting_orders.order_id = orders.order_id
where
    resting_orders.symbol_key <> orders.symbol_key
    or resting_orders.account_key <> orders.account_key
    or resting_orders.side <> orders.side
    or resting_orders.price_rank <> case orders.side when 'buy' then -orders.limit_price else orders.limit_price end
union all
select
    'order_rests_once',
    format('order %s', repeated.order_id),
    format('is in the book %s times', repeated.times)
from repeated
$$;


ALTER FUNCTION exchange.check_book() OWNER TO exchange_owner;

--
-- Name: FUNCTION check_book(); Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON FUNCTION exchange.check_book() IS 'A row for each symbol whose best buy could trade with its best sell, each resting order that is not as it was placed, and each best order that the tape does not show. Part of check_integrity.';


--
-- Name: check_conservation(); Type: FUNCTION; Schema: exchange; Owner: exchange_owner
--

CREATE FUNCTION exchange.check_conservation() RETURNS TABLE(invariant text, subject text, detail text)
    LANGUAGE sql STABLE
    AS $$
with holdings as (
    select
        accounts.account_key,
        null::integer as symbol_key,
        accounts.cash as amount
    from exchange.accounts
    union all
    select
        positions.account_key,
        positions.symbol_key,
        positions.shares
    from exchange.positions
    union all
    select
        credits.account_key,
        credits.symbol_key,
        credits.amount
    from exchange.credits
),

reservations as (
    select
        resting_orders.account_key,
        case resting_orders.side when 'sell' then resting_orders.symbol_key end as symbol_key,
        case resting_orders.side
            when 'sell' then resting_orders.open_shares
            else resting_orders.open_shares * abs(resting_orders.price_rank)
        end as amount
    from exchange.resting_orders
),

trades as (
    select
        bought.account_key as buyer_key,
        sold.account_key as seller_key,
        executions.symbol_key,
        executions.shares,
        executions.shares * executions.price as cash
    from exchange.executions
    left join exchange.orders as bought on executions.buy_order_id = bought.order_id
    left join exchange.orders as sold on executions.sell_order_id = sold.order_id
),

movements as (
    select
        deposits.account_key,
        deposits.symbol_key,
        deposits.amount
    from exchange.deposits
    union all
    select
        trades.buyer_key,
        null,
        -trades.cash
    from trades
    union all
    select
        trades.seller_key,
        null,
        trades.cash
    from trades
    union all
    select
        trades.buyer_key,
        trades.symbol_key,
        trades.shares
    from trades
    union all
    select
        trades.seller_key,
        trades.symbol_key,
        -trades.shares
    from trades
    union all
    select
        reservations.account_key,
        reservations.symbol_key,
        -reservations.amount
    from reservations
),

account_sums as (
    select
        sums.account_key,
        sums.symbol_key,
        sum(sums.has) as has,
        sum(sums.due) as due
    from (
        select
            holdings.account_key,
            holdings.symbol_key,
            holdings.amount as has,
            0 as due
        from holdings
        union all
        select
            movements.account_key,
            movements.symbol_key,
            0 as has,
            movements.amount as due
        from movements
    ) as sums
    group by sums.account_key, sums.symbol_key
),

total_sums as (
    select
        sums.symbol_key,
        sum(sums.has) as has,
        sum(sums.deposited) as deposited
    from (
        select
            holdings.symbol_key,
            holdings.amount as has,
            0 as deposited
        from holdings
        union all
        select
            reservations.symbol_key,
            reservations.amount as has,
            0 as deposited
        from reservations
        union all
        select
            deposits.symbol_key,
            0 as has,
            deposits.amount as deposited
        from exchange.deposits
    ) as sums
    group by sums.symbol_key
)

select
    case when account_sums.symbol_key is null then 'account_cash_adds_up' else 'account_shares_add_up' end,
    format('account %s', coalesce(accounts.account_id, format('with key %s', account_sums.account_key)))
    || coalesce(', symbol ' || coalesce(symbols.sym, 'with key ' || account_sums.symbol_key), ''),
    format(
        'has %s, but deposits and trades less what open orders reserve make %s',
        trim_scale(account_sums.has), trim_scale(account_sums.due)
    )
from account_sums
left join exchange.accounts on account_sums.account_key = accounts.account_key
left join exchange.symbols on account_sums.symbol_key = symbols.symbol_key
where account_sums.has <> account_sums.due
union all
select
    case when total_sums.symbol_key is null then 'cash_is_conserved' else 'shares_are_conserved' end,
    coalesce('symbol ' || coalesce(symbols.sym, 'with key ' || total_sums.symbol_key), 'all accounts'),
    format(
        '%s deposited, but accounts have and open orders reserve %s',
        trim_scale(total_sums.deposited), trim_scale(total_sums.has)
    )
from total_sums
left join exchange.symbols on total_sums.symbol_key = symbols.symbol_key
where total_sums.has <> total_sums.deposited
union all
select
    'balance_never_negative',
    format('account %s', coalesce(accounts.account_id, format('with key %s', holdings.account_key)))
    || coalesce(', symbol ' || coalesce(symbols.sym, 'with key ' || holdings.symbol_key), ''),
    format('has or is owed %s', trim_scale(holdings.amount))
from holdings
left join exchange.accounts on holdings.account_key = accounts.account_key
left join exchange.symbols on holdings.symbol_key = symbols.symbol_key
where (holdings.amount >= 0 and holdings.amount < 'Infinity') is not true
$$;


ALTER FUNCTION exchange.check_conservation() OWNER TO exchange_owner;

--
-- Name: FUNCTION check_conservation(); Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON FUNCTION exchange.check_conservation() IS 'A row for each account, and in total for each symbol and for money, where what is there is not what deposits and trades make of it; and for each balance below zero. Part of check_integrity.';


--
-- Name: check_executions(); Type: FUNCTION; Schema: exchange; Owner: exchange_owner
--

CREATE FUNCTION exchange.check_executions() RETURNS TABLE(invariant text, subject text, detail text)
    LANGUAGE sql STABLE
    AS $$
with fills as (
    select
        executions.execution_id,
        executions.symbol_key,
        executions.shares,
        executions.price,
        executions.buy_limit,
        executions.sell_limit,
        bought.order_id as buy_order_id,
        bought.side as buy_side,
        bought.symbol_key as buy_symbol_key,
        bought.limit_price as placed_buy_limit,
        sold.order_id as sell_order_id,
        sold.side as sell_side,
        sold.symbol_key as sell_symbol_key,
        sold.limit_price as placed_sell_limit,
        case when bought.order_id < sold.order_id then bought.limit_price else sold.limit_price end as earlier_limit
    from exchange.executions
    inner join exchange.orders as bought on executions.buy_order_id = bought.order_id
    inner join exchange.orders as sold on executions.sell_order_id = sold.order_id
)

select
    'execution_agrees_with_orders',
    format('execution %s', fills.execution_id),
    format(
        'buy order %s is a %s of symbol key %s at %s, sell order %s a %s of %s at %s; '
        'the execution has symbol key %s, limits %s and %s',
        fills.buy_order_id, fills.buy_side, fills.buy_symbol_key, trim_scale(fills.placed_buy_limit),
        fills.sell_order_id, fills.sell_side, fills.sell_symbol_key, trim_scale(fills.placed_sell_limit),
        fills.symbol_key, trim_scale(fills.buy_limit), trim_scale(fills.sell_limit)
    )
from fills
where
    fills.buy_side <> 'buy'
    or fills.sell_side <> 'sell'
    or fills.buy_symbol_key <> fills.symbol_key
    or fills.sell_symbol_key <> fills.symbol_key
    or fills.buy_limit <> fills.placed_buy_limit
    or fills.sell_limit <> fills.placed_sell_limit
union all
select
    'execution_is_within_limits',
    format('execution %s', fills.execution_id),
    format(
        'price %s; order %s buys up to %s, order %s sells from %s',
        trim_scale(fills.price), fills.buy_order_id, trim_scale(fills.placed_buy_limit),
        fills.sell_order_id, trim_scale(fills.placed_sell_limit)
    )
from fills
where fills.price > fills.placed_buy_limit or fills.price < fills.placed_sell_limit
union all
select
    'execution_is_at_earlier_limit',
    format('execution %s', fills.execution_id),
    format(
        'price %s, but order %s was open first, and its limit is %s',
        trim_scale(fills.price), least(fills.buy_order_id, fills.sell_order_id), trim_scale(fills.earlier_limit)
    )
from fills
where fills.price <> fills.earlier_limit
union all
select
    'execution_is_of_shares',
    format('execution %s', fills.execution_id),
    format('%s shares', trim_scale(fills.shares))
from fills
where (fills.shares > 0 and fills.shares < 'Infinity') is not true
$$;


ALTER FUNCTION exchange.check_executions() OWNER TO exchange_owner;

--
-- Name: FUNCTION check_executions(); Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON FUNCTION exchange.check_executions() IS 'A row for each fill whose orders are not a buy and a sell of its symbol with the limits that it repeats, or whose price is outside of them or not the limit of the earlier order. Part of check_integrity.';


--
-- Name: check_integrity(); Type: FUNCTION; Schema: exchange; Owner: exchange_owner
--

CREATE FUNCTION exchange.check_integrity() RETURNS TABLE(invariant text, subject text, detail text)
    LANGUAGE sql STABLE
    AS $$
select found.invariant, found.subject, found.detail from exchange.check_conservation() as found
union all
select found.invariant, found.subject, found.detail from exchange.check_orders() as found
union all
select found.invariant, found.subject, found.detail from exchange.check_book() as found
union all
select found.invariant, found.subject, found.detail from exchange.check_executions() as found
union all
select found.invariant, found.subject, found.detail from exchange.check_priority() as found
union all
select found.invariant, found.subject, found.detail from exchange.check_keys() as found
$$;


ALTER FUNCTION exchange.check_integrity() OWNER TO exchange_owner;

--
-- Name: FUNCTION check_integrity(); Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON FUNCTION exchange.check_integrity() IS 'A row for each violated invariant, none when the exchange is sound: conservation of cash and shares, orders that add up, a book that is not crossed, fills within limits and by price-time priority, no orphans. From the tables alone.';


--
-- Name: check_keys(); Type: FUNCTION; Schema: exchange; Owner: exchange_owner
--

CREATE FUNCTION exchange.check_keys() RETURNS TABLE(invariant text, subject text, detail text)
    LANGUAGE sql STABLE
    AS $$
with links as (
    select
        format('positions (%s, %s)', positions.account_key, positions.symbol_key) as place,
        positions.account_key,
        positions.symbol_key,
        null::bigint as order_id
    from exchange.positions
    union all
    select
        format('orders %s', orders.order_id),
        orders.account_key,
        orders.symbol_key,
        null
    from exchange.orders
    union all
    select
        format('resting_orders %s', resting_orders.order_id),
        resting_orders.account_key,
        resting_orders.symbol_key,
        resting_orders.order_id
    from exchange.resting_orders
    union all
    select
        format('quotes %s', quotes.quote_id),
        null,
        quotes.symbol_key,
        nullif(quotes.order_id, 0)
    from exchange.quotes
    union all
    select
        format('executions %s', executions.execution_id),
        null,
        executions.symbol_key,
        orders.order_id
    from exchange.executions
    cross join lateral (values (executions.buy_order_id), (executions.sell_order_id)) as orders (order_id)
    union all
    select
        format('cancellations %s', cancellations.order_id),
        null,
        null,
        cancellations.order_id
    from exchange.cancellations
    union all
    select
        format('credits %s', credits.credit_id),
        credits.account_key,
        credits.symbol_key,
        null
    from exchange.credits
    union all
    select
        format('deposits %s', deposits.deposit_id),
        deposits.account_key,
        deposits.symbol_key,
        null
    from exchange.deposits
)

select
    'no_orphans',
    links.place,
    concat_ws(
        ', ',
        case when accounts.account_key is null then 'no account has the key ' || links.account_key end,
        case when symbols.symbol_key is null then 'no symbol has the key ' || links.symbol_key end,
        case when orders.order_id is null then 'there is no order ' || links.order_id end
    )
from links
left join exchange.accounts on links.account_key = accounts.account_key
left join exchange.symbols on links.symbol_key = symbols.symbol_key
left join exchange.orders on links.order_id = orders.order_id
where
    (links.account_key is not null and accounts.account_key is null)
    or (links.symbol_key is not null and symbols.symbol_key is null)
    or (links.order_id is not null and orders.order_id is null)
$$;


ALTER FUNCTION exchange.check_keys() OWNER TO exchange_owner;

--
-- Name: FUNCTION check_keys(); Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON FUNCTION exchange.check_keys() IS 'A row for each row that names an account, a symbol or an order that is not there. Part of check_integrity.';


--
-- Name: check_orders(); Type: FUNCTION; Schema: exchange; Owner: exchange_owner
--

CREATE FUNCTION exchange.check_orders() RETURNS TABLE(invariant text, subject text, detail text)
    LANGUAGE sql STABLE
    AS $$
with parts as (
    select
        resting_orders.order_id,
        resting_orders.open_shares as open,
        0 as executed,
        0 as canceled
    from exchange.resting_orders
    union all
    select
        executions.buy_order_id,
        0 as open,
        executions.shares as executed,
        0 as canceled
    from exchange.executions
    union all
    select
        executions.sell_order_id,
        0 as open,
        executions.shares as executed,
        0 as canceled
    from exchange.executions
    union all
    select
        cancellations.order_id,
        0 as open,
        0 as executed,
        cancellations.shares as canceled
    from exchange.cancellations
),

lives as (
    select
        parts.order_id,
        sum(parts.open) as open,
        sum(parts.executed) as executed,
        sum(parts.canceled) as canceled
    from parts
    group by parts.order_id
)

select
    'order_adds_up',
    format('order %s', orders.order_id),
    format(
        'placed for %s, but open %s, executed %s, cancelled %s',
        trim_scale(orders.shares),
        trim_scale(coalesce(lives.open, 0)), trim_scale(coalesce(lives.executed, 0)), trim_scale(coalesce(lives.canceled, 0))
    )
from exchange.orders
left join lives on orders.order_id = lives.order_id
where orders.shares is distinct from lives.open + lives.executed + lives.canceled
union all
select
    'order_open_or_canceled',
    format('order %s', lives.order_id),
    format('open %s, and yet cancelled %s', trim_scale(lives.open), trim_scale(lives.canceled))
from lives
where lives.open <> 0 and lives.canceled <> 0
$$;


ALTER FUNCTION exchange.check_orders() OWNER TO exchange_owner;

--
-- Name: FUNCTION check_orders(); Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON FUNCTION exchange.check_orders() IS 'A row for each order of which open, executed and cancelled shares are not what was ordered, or which is open and cancelled at once. Part of check_integrity.';


--
-- Name: check_priority(); Type: FUNCTION; Schema: exchange; Owner: exchange_owner
--

CREATE FUNCTION exchange.check_priority() RETURNS TABLE(invariant text, subject text, detail text)
    LANGUAGE plpgsql STABLE
    AS $$
declare
    v_fill record;
    v_book text := '';
    v_depth integer := 0;
    v_places integer[]; -- of the order that got the fill, among all of its side of the symbol: 1 has most priority
    v_taker_ids bigint[];
    v_executions text[];
    v_low integer;
    v_high integer;
    v_middle integer;
begin
    for v_fill in
        with fills as (
            select
                executions.symbol_key,
                case when executions.buy_order_id < executions.sell_order_id then 'buy' else 'sell' end as side,
                case
                    when executions.buy_order_id < executions.sell_order_id then -executions.buy_limit
                    else executions.sell_limit
                end as price_rank,
                least(executions.buy_order_id, executions.sell_order_id) as order_id,
                greatest(executions.buy_order_id, executions.sell_order_id) as taker_id,
                executions.execution_id
            from exchange.executions
            union all
            -- What rests is what the next fill will be of.
            select
                resting_orders.symbol_key,
                resting_orders.side::text,
                resting_orders.price_rank,
                resting_orders.order_id,
                null as taker_id,
                null as execution_id
            from exchange.resting_orders
        )

        select
            format('%s of symbol key %s', fills.side, fills.symbol_key) as book,
            fills.order_id,
            fills.taker_id,
            fills.execution_id,
            dense_rank() over (
                partition by fills.symbol_key, fills.side
                order by fills.price_rank, fills.order_id
            )::integer as place
        from fills
        order by fills.symbol_key, fills.side, fills.execution_id nulls last
    loop
        if v_fill.book <> v_book then
            v_book := v_fill.book;
            v_depth := 0;
        end if;

        -- The first fill on the stack that was taken by an order placed after this one.
        v_low := 1;
        v_high := v_depth + 1;
        while v_low < v_high loop
            v_middle := (v_low + v_high) / 2;
            if v_taker_ids[v_middle] > v_fill.order_id then
                v_high := v_middle;
            else
                v_low := v_middle + 1;
            end if;
        end loop;
        if v_low <= v_depth and v_places[v_low] > v_fill.place then
            invariant := 'fills_keep_priority';
            subject := format('order %s', v_fill.order_id);
            detail := format(
                'was open (%s) and had priority over the order that got execution %s',
                coalesce('execution ' || v_fill.execution_id || ' came later', 'it still is'), v_executions[v_low]
            );
            return next;
        end if;

        if v_fill.execution_id is not null then
            while v_depth > 0 and v_places[v_depth] <= v_fill.place loop
                v_depth := v_depth - 1;
            end loop;
            v_depth := v_depth + 1;
            v_places[v_depth] := v_fill.place;
            v_taker_ids[v_depth] := v_fill.taker_id;
            v_executions[v_depth] := v_fill.execution_id::text;
        end if;
    end loop;
end
$$;


ALTER FUNCTION exchange.check_priority() OWNER TO exchange_owner;

--
-- Name: FUNCTION check_priority(); Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON FUNCTION exchange.check_priority() IS 'A row for each order that was open when another one with less priority got a fill: a worse price, or the same price and placed later. Part of check_integrity.';


--
-- Name: collect_credits(integer[], xid8[], bigint[]); Type: FUNCTION; Schema: exchange; Owner: exchange_owner
--

CREATE FUNCTION exchange.collect_credits(p_account_keys integer[], p_settled_before xid8[], p_position_keys bigint[]) RETURNS TABLE(account_key integer, position_key bigint, amount numeric)
    LANGUAGE plpgsql
    AS $$
#variable_conflict use_column
begin
    return query
    with collected as (
        delete from exchange.credits
        using
            unnest(p_account_keys, p_settled_before) as due (account_key, settled_before)
        -- Sideways, so that each account's credits are looked up by key, also while the planner thinks there are none.
        cross join lateral (
            select waiting.ctid as row_address
            from exchange.credits as waiting
            where waiting.account_key = due.account_key and waiting.transaction_id >= due.settled_before
            offset 0
        ) as found
        where credits.ctid = found.row_address
        returning credits.account_key, credits.symbol_key, credits.amount
    ),

    owed as (
        select
            collected.account_key,
            collected.symbol_key,
            collected.account_key::bigint << 32 | collected.symbol_key as position_key,
            sum(collected.amount) as amount
        from collected
        group by collected.account_key, collected.symbol_key
    ),

    put_away as (
        insert into exchange.positions as held (account_key, symbol_key, shares)
        select
            owed.account_key,
            owed.symbol_key,
            owed.amount
        from owed
        where owed.symbol_key is not null and (owed.position_key = any(p_position_keys)) is not true
        on conflict (account_key, symbol_key) do update set shares = held.shares + excluded.shares
    )

    select
        owed.account_key,
        owed.position_key,
        owed.amount
    from owed
    where owed.symbol_key is null or owed.position_key = any(p_position_keys);
end
$$;


ALTER FUNCTION exchange.collect_credits(p_account_keys integer[], p_settled_before xid8[], p_position_keys bigint[]) OWNER TO exchange_owner;

--
-- Name: FUNCTION collect_credits(p_account_keys integer[], p_settled_before xid8[], p_position_keys bigint[]); Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON FUNCTION exchange.collect_credits(p_account_keys integer[], p_settled_before xid8[], p_position_keys bigint[]) IS 'Deletes the credits of these accounts and returns them, summed: cash (position_key null) and shares of the positions named (account_key << 32 | symbol_key). Shares of other positions are added to positions. The caller holds the accounts'' row locks.';


--
-- Name: count_open(); Type: FUNCTION; Schema: exchange; Owner: exchange_owner
--

CREATE FUNCTION exchange.count_open() RETURNS TABLE(open_orders bigint, unsettled_credits bigint)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'exchange', 'pg_temp'
    AS $$
select
    (select count(*) from exchange.resting_orders) as open_orders,
    (select count(*) from exchange.credits) as unsettled_credits
$$;


ALTER FUNCTION exchange.count_open() OWNER TO exchange_owner;

--
-- Name: FUNCTION count_open(); Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON FUNCTION exchange.count_open() IS 'Counts the orders in the book and the credits that are not yet folded into their accounts. For monitoring.';


--
-- Name: create_account(text, numeric); Type: FUNCTION; Schema: exchange; Owner: exchange_owner
--

CREATE FUNCTION exchange.create_account(p_account_id text, p_balance numeric, OUT outcome text, OUT code text, OUT message text) RETURNS record
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'exchange', 'pg_temp'
    AS $_$
declare
    v_now timestamptz;
    v_account_key integer;
begin
    -- Lock 1 of 3: creation. Whoever else creates waits here, so a unique violation can't happen.
    perform pg_advisory_xact_lock(5001, 0);
    v_now := clock_timestamp();

    if (p_account_id ~ '^[0-9]{1,255}$') is not true then
        code := 'invalid_account';
        message := format('account id %s is not allowed: 1 to 255 digits', left(coalesce(p_account_id, 'null'), 40));
    elsif (p_balance >= 0 and exchange.is_number(p_balance)) is not true then
        code := 'invalid_balance';
        message := format(
            'balance %s is not allowed: 0 or more, at most 18 digits before and 12 after the point',
            coalesce(p_balance::text, 'null')
        );
    elsif exists (select from exchange.accounts where accounts.account_id = p_account_id) then
        code := 'account_exists';
        message := format('account %s exists already', p_account_id);
    else
        insert into exchange.accounts (account_id, cash, created_at)
        values (p_account_id, p_balance, v_now)
        returning accounts.account_key into v_account_key;

        insert into exchange.deposits (account_key, symbol_key, amount, deposited_at)
        select
            v_account_key,
            null,
            p_balance,
            v_now
        where p_balance > 0;
    end if;

    outcome := case when code is null then 'created' else 'refused' end;
end
$_$;


ALTER FUNCTION exchange.create_account(p_account_id text, p_balance numeric, OUT outcome text, OUT code text, OUT message text) OWNER TO exchange_owner;

--
-- Name: FUNCTION create_account(p_account_id text, p_balance numeric, OUT outcome text, OUT code text, OUT message text); Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON FUNCTION exchange.create_account(p_account_id text, p_balance numeric, OUT outcome text, OUT code text, OUT message text) IS 'Creates an account with an opening balance. One row: created, or refused with the reason.';


--
-- Name: create_all(integer[], text[], text[], text[], numeric[]); Type: FUNCTION; Schema: exchange; Owner: exchange_owner
--

CREATE FUNCTION exchange.create_all(p_requests integer[], p_actions text[], p_account_ids text[], p_syms text[], p_amounts numeric[]) RETURNS SETOF exchange.answer
    LANGUAGE plpgsql
    AS $$
declare
    v_answer exchange.answer;
begin
    for i in 1 .. cardinality(p_requests) loop
        case p_actions[i]
            when 'create_account' then
                select created.outcome, created.code, created.message
                into v_answer.outcome, v_answer.code, v_answer.message
                from exchange.create_account(p_account_ids[i], p_amounts[i]) as created;
            when 'create_symbol' then
                select created.outcome, created.code, created.message
                into v_answer.outcome, v_answer.code, v_answer.message
                from exchange.create_symbol(p_syms[i]) as created;
            when 'grant_shares' then
                select granted.outcome, granted.code, granted.message
                into v_answer.outcome, v_answer.code, v_answer.message
                from exchange.grant_shares(p_syms[i], p_account_ids[i], p_amounts[i]) as granted;
        end case;
        v_answer.request := p_requests[i];
        return next v_answer;
    end loop;
end
$$;


ALTER FUNCTION exchange.create_all(p_requests integer[], p_actions text[], p_account_ids text[], p_syms text[], p_amounts numeric[]) OWNER TO exchange_owner;

--
-- Name: FUNCTION create_all(p_requests integer[], p_actions text[], p_account_ids text[], p_syms text[], p_amounts numeric[]); Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON FUNCTION exchange.create_all(p_requests integer[], p_actions text[], p_account_ids text[], p_syms text[], p_amounts numeric[]) IS 'Carries out a run of create_account, create_symbol and grant_shares in the order given. Use those for one.';


--
-- Name: create_symbol(text); Type: FUNCTION; Schema: exchange; Owner: exchange_owner
--

CREATE FUNCTION exchange.create_symbol(p_sym text, OUT outcome text, OUT code text, OUT message text) RETURNS record
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'exchange', 'pg_temp'
    AS $_$
begin
    -- Lock 1 of 3: creation. Whoever else creates waits here, so a unique violation can't happen.
    perform pg_advisory_xact_lock(5001, 0);

    if (p_sym ~ '^[A-Za-z0-9]{1,255}$') is not true then
        outcome := 'refused';
        code := 'invalid_symbol';
        message := format('symbol %s is not allowed: 1 to 255 ASCII letters and digits', left(coalesce(p_sym, 'null'), 40));
        return;
    end if;

    insert into exchange.symbols (sym, created_at)
    select
        p_sym,
        clock_timestamp()
    where not exists (select from exchange.symbols where symbols.sym = p_sym);

    outcome := 'created';
end
$_$;


ALTER FUNCTION exchange.create_symbol(p_sym text, OUT outcome text, OUT code text, OUT message text) OWNER TO exchange_owner;

--
-- Name: FUNCTION create_symbol(p_sym text, OUT outcome text, OUT code text, OUT message text); Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON FUNCTION exchange.create_symbol(p_sym text, OUT outcome text, OUT code text, OUT message text) IS 'Makes a symbol known. One row: created, also where it existed, or refused with the reason.';


--
-- Name: freeze_account(text); Type: FUNCTION; Schema: exchange; Owner: exchange_owner
--

CREATE FUNCTION exchange.freeze_account(p_account_id text, OUT outcome text, OUT code text, OUT message text) RETURNS record
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'exchange', 'pg_temp'
    AS $$
declare
    v_frozen_at timestamptz;
begin
    -- Lock 3 of 3: the account, by the update. Whoever places an order for it holds it, and whoever gets it next sees
    -- the freeze.
    update exchange.accounts
    set frozen_at = coalesce(accounts.frozen_at, clock_timestamp())
    where accounts.account_id = p_account_id
    returning accounts.frozen_at into v_frozen_at;

    if v_frozen_at is null then
        outcome := 'refused';
        code := 'unknown_account';
        message := exchange.refusal(code, p_account_id, null, null, null);
        return;
    end if;
    outcome := 'frozen';
    message := format(
        'account %s places no orders since %s; those in the book stay and can be filled until cancel_open_orders '
        'takes them out; unfreeze_account ends the freeze',
        p_account_id, date_trunc('second', v_frozen_at)
    );
end
$$;


ALTER FUNCTION exchange.freeze_account(p_account_id text, OUT outcome text, OUT code text, OUT message text) OWNER TO exchange_owner;

--
-- Name: FUNCTION freeze_account(p_account_id text, OUT outcome text, OUT code text, OUT message text); Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON FUNCTION exchange.freeze_account(p_account_id text, OUT outcome text, OUT code text, OUT message text) IS 'Freezes an account: once this has committed it places no orders (account_frozen) until unfreeze_account. Its resting orders stay and can be filled: cancel_open_orders, in a transaction of its own, takes them out. It can still query and cancel, and be paid. One row: frozen, or refused with the reason.';


--
-- Name: grant_shares(text, text, numeric); Type: FUNCTION; Schema: exchange; Owner: exchange_owner
--

CREATE FUNCTION exchange.grant_shares(p_sym text, p_account_id text, p_shares numeric, OUT outcome text, OUT code text, OUT message text) RETURNS record
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'exchange', 'pg_temp'
    AS $$
declare
    v_account_key integer;
    v_symbol_key integer;
begin
    -- Lock 1 of 3: creation. The account needs no lock: what it is given is a credit.
    perform pg_advisory_xact_lock(5001, 0);

    outcome := 'refused';
    select accounts.account_key
    into v_account_key
    from exchange.accounts
    where accounts.account_id = p_account_id;

    if v_account_key is null then
        code := 'unknown_account';
        message := exchange.refusal(code, p_account_id, p_sym, p_shares, null);
        return;
    end if;
    if (p_shares > 0 and exchange.is_number(p_shares)) is not true then
        code := 'invalid_amount';
        message := format(
            '%s shares are not allowed: more than 0, at most 18 digits before and 12 after the point',
            coalesce(p_shares::text, 'null')
        );
        return;
    end if;

    select
        created.outcome,
        created.code,
        created.message
    into outcome, code, message
    from exchange.create_symbol(p_sym) as created;

    if outcome = 'created' then
        select symbols.symbol_key
        into v_symbol_key
        from exchange.symbols
        where symbols.sym = p_sym;

        insert into exchange.deposits (account_key, symbol_key, amount, deposited_at)
        values (v_account_key, v_symbol_key, p_shares, clock_timestamp());

        insert into exchange.credits (account_key, symbol_key, amount)
        values (v_account_key, v_symbol_key, p_shares);
    end if;
end
$$;


ALTER FUNCTION exchange.grant_shares(p_sym text, p_account_id text, p_shares numeric, OUT outcome text, OUT code text, OUT message text) OWNER TO exchange_owner;

--
-- Name: FUNCTION grant_shares(p_sym text, p_account_id text, p_shares numeric, OUT outcome text, OUT code text, OUT message text); Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON FUNCTION exchange.grant_shares(p_sym text, p_account_id text, p_shares numeric, OUT outcome text, OUT code text, OUT message text) IS 'Gives an account shares of a symbol, which is created if it is new. One row: created, or refused with the reason.';


--
-- Name: halt_symbol(text); Type: FUNCTION; Schema: exchange; Owner: exchange_owner
--

CREATE FUNCTION exchange.halt_symbol(p_sym text, OUT outcome text, OUT code text, OUT message text) RETURNS record
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'exchange', 'pg_temp'
    AS $$
declare
    v_halted_at timestamptz;
begin
    -- Lock 2 of 3: the symbol. Whoever matches holds it, and whoever gets it next sees the halt.
    perform pg_advisory_xact_lock(5000, exchange.symbol_slot(p_sym));

    update exchange.symbols
    set halted_at = coalesce(symbols.halted_at, clock_timestamp())
    where symbols.sym = p_sym
    returning symbols.halted_at into v_halted_at;

    if v_halted_at is null then
        outcome := 'refused';
        code := 'unknown_symbol';
        message := exchange.refusal(code, null, p_sym, null, null);
        return;
    end if;
    outcome := 'halted';
    message := format(
        'trading of %s is halted since %s; resting orders stay and can be cancelled; resume_symbol ends the halt',
        p_sym, date_trunc('second', v_halted_at)
    );
end
$$;


ALTER FUNCTION exchange.halt_symbol(p_sym text, OUT outcome text, OUT code text, OUT message text) OWNER TO exchange_owner;

--
-- Name: FUNCTION halt_symbol(p_sym text, OUT outcome text, OUT code text, OUT message text); Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON FUNCTION exchange.halt_symbol(p_sym text, OUT outcome text, OUT code text, OUT message text) IS 'Halts trading of a symbol: once this has returned no order of it is matched, and new ones are refused (symbol_halted) until resume_symbol. Resting orders stay and can be queried and cancelled. One row: halted, or refused with the reason.';


--
-- Name: is_number(numeric); Type: FUNCTION; Schema: exchange; Owner: exchange_owner
--

CREATE FUNCTION exchange.is_number(p_value numeric) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN COALESCE(((abs(p_value) < '1000000000000000000'::numeric) AND (min_scale(p_value) <= 12)), false);


ALTER FUNCTION exchange.is_number(p_value numeric) OWNER TO exchange_owner;

--
-- Name: FUNCTION is_number(p_value numeric); Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON FUNCTION exchange.is_number(p_value numeric) IS 'Whether a value is a number that the exchange takes: finite, at most 18 digits before and 12 after the point.';


--
-- Name: list_applied_files(); Type: FUNCTION; Schema: exchange; Owner: exchange_owner
--

CREATE FUNCTION exchange.list_applied_files() RETURNS TABLE(kind text, name text, checksum text)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'exchange', 'pg_temp'
    AS $$
    select distinct on (applied_files.kind, applied_files.name)
        applied_files.kind,
        applied_files.name,
        applied_files.checksum
    from exchange.applied_files
    order by
        applied_files.kind,
        applied_files.name,
        applied_files.applied_file_id desc
$$;


ALTER FUNCTION exchange.list_applied_files() OWNER TO exchange_owner;

--
-- Name: FUNCTION list_applied_files(); Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON FUNCTION exchange.list_applied_files() IS 'Each file of sql/ that was applied here, with the checksum (SHA-256) of the text that holds now.';


--
-- Name: lock_batch(text[], text[], text[], bigint[]); Type: FUNCTION; Schema: exchange; Owner: exchange_owner
--

CREATE FUNCTION exchange.lock_batch(p_actions text[], p_account_ids text[], p_syms text[], p_order_ids bigint[], OUT symbol_slots integer[], OUT last_account_key integer) RETURNS record
    LANGUAGE plpgsql
    AS $$
begin
    -- What the last holder of a lock has committed is seen only by statements with a snapshot of their own.
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'the exchange works in transactions that are read committed, not %', current_setting('transaction_isolation')
            using errcode = 'EX003', hint = 'begin transaction isolation level read committed';
    end if;

    -- Lock 1 of 3: creation.
    if p_actions && array['create_account', 'create_symbol', 'grant_shares'] then
        perform pg_advisory_xact_lock(5001, 0);
    end if;

    -- Lock 2 of 3: the symbols, ascending. An order's symbol never changes, so it can be read before it is locked.
    select coalesce(array_agg(locked.slot), '{}')
    into symbol_slots
    from (
        select
            slots.slot,
            pg_advisory_xact_lock(5000, slots.slot) as taken
        from (
            select exchange.symbol_slot(placed.sym) as slot
            from unnest(p_actions, p_syms) as placed (action, sym)
            where placed.action = 'place_order' and placed.sym is not null
            union
            select exchange.symbol_slot(placed.sym)
            from unnest(p_actions, p_order_ids) as canceled (action, order_id)
            cross join lateral (
                select (select symbols.sym from exchange.symbols where symbols.symbol_key = orders.symbol_key) as sym
                from exchange.orders
                where orders.order_id = canceled.order_id
                offset 0
            ) as placed
            where canceled.action = 'cancel_order'
            order by slot
        ) as slots
    ) as locked;

    -- Lock 3 of 3: the accounts, ascending. Nothing after them waits.
    select coalesce(max(locked.account_key), 0)
    into last_account_key
    from (
        select accounts.account_key
        from exchange.accounts
        where accounts.account_id in (
            select ordering.account_id
            from unnest(p_actions, p_account_ids) as ordering (action, account_id)
            where ordering.action = 'place_order'
        )
        order by accounts.account_key
        for no key update of accounts
    ) as locked;

    -- Keys ascend in the order of commits. In a batch that creates, only its own accounts can be new.
    if p_actions && array['create_account', 'create_symbol', 'grant_shares'] then
        last_account_key := 2147483647;
    end if;
end
$$;


ALTER FUNCTION exchange.lock_batch(p_actions text[], p_account_ids text[], p_syms text[], p_order_ids bigint[], OUT symbol_slots integer[], OUT last_account_key integer) OWNER TO exchange_owner;

--
-- Name: FUNCTION lock_batch(p_actions text[], p_account_ids text[], p_syms text[], p_order_ids bigint[], OUT symbol_slots integer[], OUT last_account_key integer); Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON FUNCTION exchange.lock_batch(p_actions text[], p_account_ids text[], p_syms text[], p_order_ids bigint[], OUT symbol_slots integer[], OUT last_account_key integer) IS 'Takes all locks of a batch in the one order: creation, symbols ascending by slot, accounts that place orders ascending by key. Returns the slots, and the highest account_key that the batch may act for.';


--
-- Name: place_order(text, text, numeric, numeric); Type: FUNCTION; Schema: exchange; Owner: exchange_owner
--

CREATE FUNCTION exchange.place_order(p_account_id text, p_sym text, p_amount numeric, p_limit numeric, OUT outcome text, OUT order_id bigint, OUT executed_shares numeric, OUT executed_value numeric, OUT open_shares numeric, OUT code text, OUT message text) RETURNS record
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'exchange', 'pg_temp'
    AS $$
begin
    select
        answer.outcome,
        answer.order_id,
        answer.code,
        answer.message
    into outcome, order_id, code, message
    from exchange.process_batch(
        array[1], array['place_order'], array[p_account_id], array[p_sym], array[p_amount], array[p_limit], array[null::bigint]
    ) as answer;

    if outcome = 'refused' then
        return;
    end if;

    -- The symbol is still locked, so this is what the order did and no more.
    select
        trim_scale(coalesce(sum(executions.shares), 0)),
        trim_scale(coalesce(sum(executions.shares * executions.price), 0))
    into executed_shares, executed_value
    from exchange.executions
    where
        (p_amount > 0 and executions.buy_order_id = place_order.order_id)
        or (p_amount < 0 and executions.sell_order_id = place_order.order_id);

    open_shares := trim_scale(abs(p_amount) - executed_shares);
end
$$;


ALTER FUNCTION exchange.place_order(p_account_id text, p_sym text, p_amount numeric, p_limit numeric, OUT outcome text, OUT order_id bigint, OUT executed_shares numeric, OUT executed_value numeric, OUT open_shares numeric, OUT code text, OUT message text) OWNER TO exchange_owner;

--
-- Name: FUNCTION place_order(p_account_id text, p_sym text, p_amount numeric, p_limit numeric, OUT outcome text, OUT order_id bigint, OUT executed_shares numeric, OUT executed_value numeric, OUT open_shares numeric, OUT code text, OUT message text); Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON FUNCTION exchange.place_order(p_account_id text, p_sym text, p_amount numeric, p_limit numeric, OUT outcome text, OUT order_id bigint, OUT executed_shares numeric, OUT executed_value numeric, OUT open_shares numeric, OUT code text, OUT message text) IS 'Places a limit order: p_amount shares, more than 0 to buy, less than 0 to sell, at p_limit or better. Matches at once what can be matched and rests the remainder in the book. One row: opened with the order''s id, the shares executed at once, what was paid for them, and the shares left open; or refused with the reason.';


--
-- Name: place_orders(integer[], text[], text[], numeric[], numeric[], integer); Type: FUNCTION; Schema: exchange; Owner: exchange_owner
--

CREATE FUNCTION exchange.place_orders(p_requests integer[], p_account_ids text[], p_syms text[], p_amounts numeric[], p_limits numeric[], p_last_account_key integer) RETURNS SETOF exchange.answer
    LANGUAGE plpgsql
    AS $$
declare
    c_now constant timestamptz := clock_timestamp();
    -- Before any credits are read: all of transactions before this one have committed, or never will.
    c_settled_before constant xid8 := pg_snapshot_xmin(pg_current_snapshot());
    c_count constant integer := cardinality(p_requests);

    -- By order, 1 .. c_count.
    v_account_keys integer[];
    v_symbol_keys integer[];
    v_position_keys bigint[];
    v_buying boolean[];
    v_shares numeric[];
    v_reaches numeric[]; -- the highest price_rank of a resting order that this order may fill against
    v_codes text[];
    v_messages text[] := array_fill(null::text, array[c_count]);
    v_order_ids bigint[] := array_fill(null::bigint, array[c_count]);
    v_account_rows tid[]; -- where the account's row is: it is locked, so it stays there
    v_settled_before xid8[];
    v_cash numeric[];
    v_cash_before numeric[];
    v_held numeric[];
    v_held_before numeric[]; -- null where the account has no row for the symbol yet

    -- By queue, one for each side of a symbol that an order of this run may fill against.
    v_queue_keys integer[];
    v_queue_reaches numeric[];
    v_queue_depths integer[];
    v_first integer[]; -- the best resting order
    v_last_rank numeric[]; -- of what was loaded, where there may be more in the table

    -- By resting order, loaded from the book or left there by this run.
    v_rest_queues integer[]; -- null where its side isn't loaded
    v_rest_symbols integer[];
    v_rest_sides exchange.side[];
    v_rest_rows tid[]; -- where its row is, null where it has none yet
    v_rest_ids bigint[];
    v_rest_ranks numeric[];
    v_rest_open numeric[];
    v_rest_loaded numeric[]; -- open shares as the table has them, null where it has no row yet
    v_rest_accounts integer[];
    v_next integer[];

    -- By fill.
    v_fill_orders integer[];
    v_fill_rests integer[];
    v_fill_shares numeric[];
    v_fill_homes integer[]; -- where the other party's cash or shares are, null where its account isn't in this run

    v_owed record;
    i integer := 1;
    v_spare_depth integer := 3; -- how many more resting orders to load than there are orders that may fill against them
    v_open numeric; -- open shares of order i, null before it has reserved
    v_purse integer;
    v_pocket integer;
    v_queue integer;
    v_rest integer;
    v_before integer;
    v_fill numeric;
    v_home integer;
    v_money numeric;
begin
    -- 1. Resolve.
    select
        array_agg(placed.account_key),
        array_agg(placed.symbol_key),
        array_agg(placed.position_key),
        array_agg(placed.amount > 0),
        array_agg(abs(placed.amount)),
        array_agg(case when placed.amount > 0 then placed.limit_price else -placed.limit_price end),
        array_agg(placed.account_row),
        array_agg(placed.settled_before),
        array_agg(placed.cash),
        array_agg(placed.shares),
        array_agg(
            case
                when placed.account_key is null then 'unknown_account'
                when placed.amount = 0 or not exchange.is_number(placed.amount) then 'invalid_amount'
                when placed.limit_price <= 0 or not exchange.is_number(placed.limit_price) then 'invalid_limit'
                when placed.symbol_key is null then 'unknown_symbol'
                when placed.frozen_at is not null then 'account_frozen'
                when placed.halted_at is not null then 'symbol_halted'
            end
        )
    into
        v_account_keys, v_symbol_keys, v_position_keys, v_buying, v_shares, v_reaches, v_account_rows, v_settled_before,
        v_cash_before, v_held_before, v_codes
    from (
        select
            accounts.account_key,
            accounts.account_row,
            accounts.settled_before,
            accounts.cash,
            accounts.frozen_at,
            symbols.symbol_key,
            symbols.halted_at,
            accounts.account_key::bigint << 32 | symbols.symbol_key as position_key,
            positions.shares,
            asked.amount,
            asked.limit_price
        from unnest(p_account_ids, p_syms, p_amounts, p_limits)
            with ordinality as asked (account_id, sym, amount, limit_price, place)
        -- Sideways, so that each row is looked up by its key whatever the planner thinks of the tables' sizes.
        -- An account with a higher key was created after the locks were taken, and isn't locked.
        left join lateral (
            select
                accounts.account_key,
                accounts.ctid as account_row,
                accounts.settled_before,
                accounts.cash,
                accounts.frozen_at
            from exchange.accounts
            where accounts.account_id = asked.account_id and accounts.account_key <= p_last_account_key
            offset 0
        ) as accounts on true
        left join lateral (
            select
                symbols.symbol_key,
                symbols.halted_at
            from exchange.symbols
            where symbols.sym = asked.sym
            offset 0
        ) as symbols on true
        left join lateral (
            select positions.shares
            from exchange.positions
            where positions.account_key = accounts.account_key and positions.symbol_key = symbols.symbol_key
            offset 0
        ) as positions on true
        order by asked.place
    ) as placed;

    -- What these accounts are owed is theirs to spend.
    v_cash := v_cash_before;
    v_held := v_held_before;
    for v_owed in
        select
            array_position(v_account_keys, collected.account_key) as purse,
            array_position(v_position_keys, collected.position_key) as pocket,
            collected.position_key,
            collected.amount
        from exchange.collect_credits(v_account_keys, v_settled_before, v_position_keys) as collected
    loop
        if v_owed.position_key is null then
            v_cash[v_owed.purse] := v_cash[v_owed.purse] + v_owed.amount;
        else
            v_held[v_owed.pocket] := coalesce(v_held[v_owed.pocket], 0) + v_owed.amount;
        end if;
    end loop;

    while i <= c_count loop
        -- 2. Load. A queue's key is the symbol's key doubled, plus 1 for the sells.
        select
            array_agg(queue.queue_key),
            array_agg(queue.reach),
            array_agg(queue.orders + v_spare_depth)
        into v_queue_keys, v_queue_reaches, v_queue_depths
        from (
            select
                taking.symbol_key * 2 + taking.buying::integer as queue_key,
                max(taking.reach) as reach,
                count(*)::integer as orders
            from unnest(v_symbol_keys[i:], v_buying[i:], v_reaches[i:], v_codes[i:])
                as taking (symbol_key, buying, reach, code)
            where taking.code is null
            group by 1
        ) as queue;

        exit when v_queue_keys is null;

        select
            array_agg(resting.queue::integer),
            array_agg(resting.symbol_key),
            array_agg(resting.side),
            array_agg(resting.row_address),
            array_agg(resting.order_id),
            array_agg(resting.price_rank),
            array_agg(resting.open_shares),
            array_agg(resting.account_key)
        into
            v_rest_queues, v_rest_symbols, v_rest_sides, v_rest_rows, v_rest_ids, v_rest_ranks, v_rest_open,
            v_rest_accounts
        from (
            select
                queues.queue,
                best.symbol_key,
                best.side,
                best.ctid as row_address,
                best.order_id,
                best.price_rank,
                best.open_shares,
                best.account_key
            from unnest(v_queue_keys, v_queue_reaches, v_queue_depths)
                with ordinality as queues (queue_key, reach, depth, queue)
            left join lateral (
                select
                    quotes.price_rank,
                    quotes.order_id
                from exchange.quotes
                where
                    quotes.symbol_key = queues.queue_key / 2
                    and quotes.side = case queues.queue_key % 2 when 1 then 'sell'::exchange.side else 'buy'::exchange.side end
                order by quotes.quote_id desc
                limit 1
            ) as quote on true
            cross join lateral (
                select
                    resting_orders.ctid,
                    resting_orders.symbol_key,
                    resting_orders.side,
                    resting_orders.order_id,
                    resting_orders.price_rank,
                    resting_orders.open_shares,
                    resting_orders.account_key
                from exchange.resting_orders
                where
                    resting_orders.symbol_key = queues.queue_key / 2
                    and resting_orders.side = case queues.queue_key % 2 when 1 then 'sell'::exchange.side else 'buy'::exchange.side end
                    and (resting_orders.price_rank, resting_orders.order_id)
                    >= (coalesce(quote.price_rank, '-Infinity'), coalesce(quote.order_id, 0))
                    and resting_orders.price_rank <= queues.reach
                order by resting_orders.price_rank, resting_orders.order_id
                limit queues.depth
            ) as best
        ) as resting;

        v_rest_loaded := v_rest_open;
        v_next := array_fill(null::integer, array[coalesce(cardinality(v_rest_ids), 0)]);
        v_first := array_fill(null::integer, array[cardinality(v_queue_keys)]);
        v_last_rank := v_first;
        for v_rest in 1 .. coalesce(cardinality(v_rest_ids), 0) loop
            v_queue := v_rest_queues[v_rest];
            if v_first[v_queue] is null then
                v_first[v_queue] := v_rest;
            else
                v_next[v_rest - 1] := v_rest;
            end if;
            if v_rest - v_first[v_queue] + 1 = v_queue_depths[v_queue] then
                v_last_rank[v_queue] := v_rest_ranks[v_rest];
            end if;
        end loop;
        v_spare_depth := v_spare_depth * 4;

        -- 3. Match.
        v_fill_orders := '{}';
        v_fill_rests := '{}';
        v_fill_shares := '{}';
        v_fill_homes := '{}';
        while i <= c_count loop
            if v_codes[i] is not null then
                i := i + 1;
                continue;
            end if;
            v_purse := array_position(v_account_keys, v_account_keys[i]);
            v_pocket := array_position(v_position_keys, v_position_keys[i]);

            -- Reserve what the order can cost at most, unless that is done and only the book ran out.
            if v_open is null then
                if v_buying[i] then
                    v_money := v_shares[i] * p_limits[i];
                    if v_cash[v_purse] < v_money then
                        v_codes[i] := 'insufficient_funds';
                        v_messages[i] := format(
                            'insufficient funds: %s needed, %s available', trim_scale(v_money), trim_scale(v_cash[v_purse])
                        );
                        i := i + 1;
                        continue;
                    end if;
                    v_cash[v_purse] := v_cash[v_purse] - v_money;
                else
                    if coalesce(v_held[v_pocket], 0) < v_shares[i] then
                        v_codes[i] := 'insufficient_shares';
                        v_messages[i] := format(
                            'insufficient shares of %s: %s needed, %s available',
                            p_syms[i], trim_scale(v_shares[i]), trim_scale(coalesce(v_held[v_pocket], 0))
                        );
                        i := i + 1;
                        continue;
                    end if;
                    v_held[v_pocket] := v_held[v_pocket] - v_shares[i];
                end if;
                v_order_ids[i] := nextval('exchange.order_ids');
                v_open := v_shares[i];
            end if;

            -- Fill against the best resting order for as long as its price is within this order's limit.
            v_queue := array_position(v_queue_keys, v_symbol_keys[i] * 2 + v_buying[i]::integer);
            v_rest := v_first[v_queue];
            while v_open > 0 and v_rest_ranks[v_rest] <= v_reaches[i] loop
                v_fill := least(v_open, v_rest_open[v_rest]);
                v_open := v_open - v_fill;
                v_rest_open[v_rest] := v_rest_open[v_rest] - v_fill;
                v_fill_orders := v_fill_orders || i;
                v_fill_rests := v_fill_rests || v_rest;
                v_fill_shares := v_fill_shares || v_fill;

                -- The price is the resting order's limit. What the other party gets waits in credits unless it has
                -- orders in this run as well: then it is there for the next of them.
                v_money := v_fill * abs(v_rest_ranks[v_rest]);
                if v_buying[i] then
                    v_held[v_pocket] := coalesce(v_held[v_pocket], 0) + v_fill;
                    v_cash[v_purse] := v_cash[v_purse] + v_fill * p_limits[i] - v_money;
                    v_home := array_position(v_account_keys, v_rest_accounts[v_rest]);
                    if v_home is not null then
                        v_cash[v_home] := v_cash[v_home] + v_money;
                    end if;
                else
                    v_cash[v_purse] := v_cash[v_purse] + v_money;
                    v_home := array_position(v_position_keys, v_rest_accounts[v_rest]::bigint << 32 | v_symbol_keys[i]);
                    if v_home is not null then
                        v_held[v_home] := coalesce(v_held[v_home], 0) + v_fill;
                    end if;
                end if;
                v_fill_homes := v_fill_homes || v_home;

                if v_rest_open[v_rest] = 0 then
                    v_rest := v_next[v_rest];
                end if;
            end loop;
            v_first[v_queue] := v_rest;

            -- The loaded part of the book is eaten up and there may be more: write, and load again for this order.
            exit when v_open > 0 and v_rest is null and v_last_rank[v_queue] is not null;

            -- Rest what is open, for later orders of this run behind all that is as good or better.
            if v_open > 0 then
                v_rest_ids := v_rest_ids || v_order_ids[i];
                v_rest := cardinality(v_rest_ids);
                v_rest_symbols[v_rest] := v_symbol_keys[i];
                v_rest_sides[v_rest] := case when v_buying[i] then 'buy'::exchange.side else 'sell'::exchange.side end;
                v_rest_ranks[v_rest] := -v_reaches[i];
                v_rest_open[v_rest] := v_open;
                v_rest_accounts[v_rest] := v_account_keys[i];
                v_queue := array_position(v_queue_keys, v_symbol_keys[i] * 2 + 1 - v_buying[i]::integer);
                if v_queue is not null and (v_last_rank[v_queue] > -v_reaches[i]) is not false then
                    v_before := null;
                    v_next[v_rest] := v_first[v_queue];
                    while v_rest_ranks[v_next[v_rest]] <= -v_reaches[i] loop
                        v_before := v_next[v_rest];
                        v_next[v_rest] := v_next[v_before];
                    end loop;
                    if v_before is null then
                        v_first[v_queue] := v_rest;
                    else
                        v_next[v_before] := v_rest;
                    end if;
                end if;
            end if;
            v_open := null;
            i := i + 1;
        end loop;

        -- 4. Write. Fills first, and what the other parties are owed for them.
        if cardinality(v_fill_orders) > 0 then
            insert into exchange.executions
            (symbol_key, buy_order_id, sell_order_id, shares, price, buy_limit, sell_limit, executed_at)
            select
                v_symbol_keys[fill.i],
                case when v_buying[fill.i] then v_order_ids[fill.i] else v_rest_ids[fill.rest] end,
                case when v_buying[fill.i] then v_rest_ids[fill.rest] else v_order_ids[fill.i] end,
                fill.shares,
                abs(v_rest_ranks[fill.rest]),
                case when v_buying[fill.i] then p_limits[fill.i] else -v_rest_ranks[fill.rest] end,
                case when v_buying[fill.i] then v_rest_ranks[fill.rest] else p_limits[fill.i] end,
                c_now
            from unnest(v_fill_orders, v_fill_rests, v_fill_shares) as fill (i, rest, shares);

            insert into exchange.credits (account_key, symbol_key, amount)
            select
                v_rest_accounts[fill.rest],
                case when not v_buying[fill.i] then v_symbol_keys[fill.i] end,
                case when v_buying[fill.i] then fill.shares * v_rest_ranks[fill.rest] else fill.shares end
            from unnest(v_fill_orders, v_fill_rests, v_fill_shares, v_fill_homes) as fill (i, rest, shares, home)
            where fill.home is null;

            -- Nobody else changes a row of a locked symbol, so each is still where it was read.
            delete from exchange.resting_orders
            using generate_series(1, cardinality(v_rest_loaded)) as n
            where v_rest_open[n] = 0 and resting_orders.ctid = v_rest_rows[n];

            update exchange.resting_orders
            set open_shares = v_rest_open[n]
            from generate_series(1, cardinality(v_rest_loaded)) as n
            where v_rest_open[n] > 0 and v_rest_open[n] < v_rest_loaded[n] and resting_orders.ctid = v_rest_rows[n];
        end if;

        insert into exchange.resting_orders (symbol_key, side, price_rank, order_id, account_key, open_shares)
        select
            v_rest_symbols[n],
            v_rest_sides[n],
            v_rest_ranks[n],
            v_rest_ids[n],
            v_rest_accounts[n],
            v_rest_open[n]
        from generate_series(coalesce(cardinality(v_rest_loaded), 0) + 1, cardinality(v_rest_ids)) as n
        where v_rest_open[n] > 0;

        perform exchange.quote(v_rest_symbols, v_rest_sides, v_rest_ranks, v_rest_ids, c_now);
    end loop;

    insert into exchange.orders (order_id, account_key, symbol_key, side, shares, limit_price, placed_at)
    select
        v_order_ids[n],
        v_account_keys[n],
        v_symbol_keys[n],
        case when v_buying[n] then 'buy'::exchange.side else 'sell'::exchange.side end,
        v_shares[n],
        p_limits[n],
        c_now
    from generate_series(1, c_count) as n
    where v_order_ids[n] is not null;

    update exchange.accounts
    set
        cash = v_cash[n],
        settled_before = c_settled_before
    from generate_series(1, c_count) as n
    where v_cash[n] <> v_cash_before[n] and accounts.ctid = v_account_rows[n];

    insert into exchange.positions (account_key, symbol_key, shares)
    select
        v_account_keys[n],
        v_symbol_keys[n],
        v_held[n]
    from generate_series(1, c_count) as n
    where v_held[n] is distinct from v_held_before[n]
    on conflict (account_key, symbol_key) do update set shares = excluded.shares;

    return query
    select
        p_requests[n],
        case when v_codes[n] is null then 'opened' else 'refused' end,
        v_order_ids[n],
        null::numeric,
        null::numeric,
        null::timestamptz,
        v_codes[n],
        case
            when v_codes[n] is not null
                then coalesce(v_messages[n], exchange.refusal(v_codes[n], p_account_ids[n], p_syms[n], p_amounts[n], p_limits[n]))
        end
    from generate_series(1, c_count) as n;
end
$$;


ALTER FUNCTION exchange.place_orders(p_requests integer[], p_account_ids text[], p_syms text[], p_amounts numeric[], p_limits numeric[], p_last_account_key integer) OWNER TO exchange_owner;

--
-- Name: FUNCTION place_orders(p_requests integer[], p_account_ids text[], p_syms text[], p_amounts numeric[], p_limits numeric[], p_last_account_key integer); Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON FUNCTION exchange.place_orders(p_requests integer[], p_account_ids text[], p_syms text[], p_amounts numeric[], p_limits numeric[], p_last_account_key integer) IS 'Places a run of orders in the order given: reserves cash or shares, fills by price-time priority at the resting order''s limit, rests what stays open. The caller holds the locks of all symbols and accounts: use place_order.';


--
-- Name: process_batch(integer[], text[], text[], text[], numeric[], numeric[], bigint[]); Type: FUNCTION; Schema: exchange; Owner: exchange_owner
--

CREATE FUNCTION exchange.process_batch(p_sequences integer[], p_actions text[], p_account_ids text[], p_syms text[], p_amounts numeric[], p_limits numeric[], p_order_ids bigint[]) RETURNS TABLE(request integer, outcome text, order_id bigint, shares numeric, price numeric, at bigint, code text, message text)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'exchange', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET jit TO 'off'
    AS $$
declare
    v_shape constant text := format('[1:%s]', cardinality(p_actions));
    v_locked record;
begin
    -- Arrays are read by subscript and in step.
    if v_shape <> any(array[
        array_dims(p_sequences), array_dims(p_actions), array_dims(p_account_ids), array_dims(p_syms),
        array_dims(p_amounts), array_dims(p_limits), array_dims(p_order_ids)
    ]) then
        raise exception 'the arrays of a batch must have one dimension, start at 1 and be equally long'
            using errcode = 'EX002';
    end if;

    -- All locks first: what follows waits for nobody.
    select
        locked.symbol_slots,
        locked.last_account_key
    into v_locked
    from exchange.lock_batch(p_actions, p_account_ids, p_syms, p_order_ids) as locked;

    return query
    select
        answer.request,
        answer.outcome,
        answer.order_id,
        answer.shares,
        answer.price,
        floor(extract(epoch from answer.at))::bigint,
        answer.code,
        answer.message
    from exchange.process_phases(
        p_sequences, p_actions, p_account_ids, p_syms, p_amounts, p_limits, p_order_ids,
        v_locked.symbol_slots, v_locked.last_account_key
    ) with ordinality as answer
    order by answer.request, answer.ordinality;
end
$$;


ALTER FUNCTION exchange.process_batch(p_sequences integer[], p_actions text[], p_account_ids text[], p_syms text[], p_amounts numeric[], p_limits numeric[], p_order_ids bigint[]) OWNER TO exchange_owner;

--
-- Name: FUNCTION process_batch(p_sequences integer[], p_actions text[], p_account_ids text[], p_syms text[], p_amounts numeric[], p_limits numeric[], p_order_ids bigint[]); Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON FUNCTION exchange.process_batch(p_sequences integer[], p_actions text[], p_account_ids text[], p_syms text[], p_amounts numeric[], p_limits numeric[], p_order_ids bigint[]) IS 'Carries out a batch of requests in one transaction and answers each: rows ordered by request (its place in the arrays, from 1). Actions: create_account (amount: balance), create_symbol, grant_shares (amount: shares), place_order (amount: shares, negative to sell), query_order, cancel_order. Requests of one sequence keep their order. A refusal is a row, never an exception. at is whole seconds since the epoch.';


--
-- Name: process_phases(integer[], text[], text[], text[], numeric[], numeric[], bigint[], integer[], integer); Type: FUNCTION; Schema: exchange; Owner: exchange_owner
--

CREATE FUNCTION exchange.process_phases(p_sequences integer[], p_actions text[], p_account_ids text[], p_syms text[], p_amounts numeric[], p_limits numeric[], p_order_ids bigint[], p_symbol_slots integer[], p_last_account_key integer) RETURNS SETOF exchange.answer
    LANGUAGE plpgsql
    AS $$
declare
    v_run record;
begin
    -- The usual case, spared the sorting out.
    if 'place_order' = all(p_actions) then
        return query
        select placed.*
        from exchange.place_orders(
            array(select generate_series(1, cardinality(p_actions))), p_account_ids, p_syms, p_amounts, p_limits,
            p_last_account_key
        ) as placed;
        return;
    end if;

    for v_run in
        with asked as (
            select
                asked.*,
                case when asked.action in ('create_account', 'create_symbol', 'grant_shares') then 'create' else asked.action end as kind
            from unnest(p_sequences, p_actions, p_account_ids, p_syms, p_amounts, p_limits, p_order_ids)
                with ordinality as asked (sequence, action, account_id, sym, amount, limit_price, order_id, place)
        ),

        changes as (
            select
                asked.*,
                asked.kind is distinct from lag(asked.kind) over (partition by asked.sequence order by asked.place) as changed
            from asked
        ),

        phases as (
            select
                changes.*,
                count(*) filter (where changes.changed) over (partition by changes.sequence order by changes.place) as phase
            from changes
        )

        select
            phases.phase,
            phases.kind,
            array_agg(phases.place::integer order by phases.place) as requests,
            array_agg(phases.action order by phases.place) as actions,
            array_agg(phases.account_id order by phases.place) as account_ids,
            array_agg(phases.sym order by phases.place) as syms,
            array_agg(phases.amount order by phases.place) as amounts,
            array_agg(phases.limit_price order by phases.place) as limits,
            array_agg(phases.order_id order by phases.place) as order_ids
        from phases
        group by phases.phase, phases.kind
        order by phases.phase, phases.kind
    loop
        case v_run.kind
            when 'place_order' then
                return query
                select placed.*
                from exchange.place_orders(
                    v_run.requests, v_run.account_ids, v_run.syms, v_run.amounts, v_run.limits, p_last_account_key
                ) as placed;
            when 'query_order' then
                return query
                select queried.*
                from exchange.query_orders(v_run.requests, v_run.account_ids, v_run.order_ids) as queried;
            when 'cancel_order' then
                return query
                select canceled.*
                from exchange.cancel_orders(
                    v_run.requests, v_run.account_ids, v_run.order_ids, p_symbol_slots
                ) as canceled;
            when 'create' then
                return query
                select created.*
                from exchange.create_all(v_run.requests, v_run.actions, v_run.account_ids, v_run.syms, v_run.amounts) as created;
            else
                raise exception 'unknown action: %', v_run.kind
                    using errcode = 'EX001', hint = 'The comment on process_batch lists the actions.';
        end case;
    end loop;
end
$$;


ALTER FUNCTION exchange.process_phases(p_sequences integer[], p_actions text[], p_account_ids text[], p_syms text[], p_amounts numeric[], p_limits numeric[], p_order_ids bigint[], p_symbol_slots integer[], p_last_account_key integer) OWNER TO exchange_owner;

--
-- Name: FUNCTION process_phases(p_sequences integer[], p_actions text[], p_account_ids text[], p_syms text[], p_amounts numeric[], p_limits numeric[], p_order_ids bigint[], p_symbol_slots integer[], p_last_account_key integer); Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON FUNCTION exchange.process_phases(p_sequences integer[], p_actions text[], p_account_ids text[], p_syms text[], p_amounts numeric[], p_limits numeric[], p_order_ids bigint[], p_symbol_slots integer[], p_last_account_key integer) IS 'Carries out a batch whose locks are held: cuts each sequence into runs of one kind and does the first runs of all sequences together, then the second ones, and so on. What is locked, lock_batch has told. Use process_batch.';


--
-- Name: query_order(text, bigint); Type: FUNCTION; Schema: exchange; Owner: exchange_owner
--

CREATE FUNCTION exchange.query_order(p_account_id text, p_order_id bigint) RETURNS TABLE(outcome text, shares numeric, price numeric, at timestamp with time zone, code text, message text)
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'exchange', 'pg_temp'
    AS $$
select
    answer.outcome,
    answer.shares,
    answer.price,
    to_timestamp(answer.at),
    answer.code,
    answer.message
from exchange.process_batch(
    array[1], array['query_order'], array[p_account_id], array[null], array[null::numeric], array[null::numeric], array[p_order_id]
) as answer
$$;


ALTER FUNCTION exchange.query_order(p_account_id text, p_order_id bigint) OWNER TO exchange_owner;

--
-- Name: FUNCTION query_order(p_account_id text, p_order_id bigint); Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON FUNCTION exchange.query_order(p_account_id text, p_order_id bigint) IS 'The state of an order of this account: at most one row open or canceled, then a row for each execution, oldest first; or one row refused, where the account has no such order.';


--
-- Name: query_orders(integer[], text[], bigint[]); Type: FUNCTION; Schema: exchange; Owner: exchange_owner
--

CREATE FUNCTION exchange.query_orders(p_requests integer[], p_account_ids text[], p_order_ids bigint[]) RETURNS SETOF exchange.answer
    LANGUAGE sql STABLE
    AS $$
with asked as (
    select
        request.request,
        request.order_id,
        owned.side,
        owned.symbol_key,
        case owned.side when 'buy' then -owned.limit_price else owned.limit_price end as price_rank
    from unnest(p_requests, p_account_ids, p_order_ids) as request (request, account_id, order_id)
    left join lateral (
        select
            orders.side,
            orders.symbol_key,
            orders.limit_price
        from exchange.orders
        inner join exchange.accounts on orders.account_key = accounts.account_key
        where orders.order_id = request.order_id and accounts.account_id = request.account_id
        offset 0
    ) as owned on true
),

parts as (
    select
        asked.request,
        0 as place,
        'open' as outcome,
        asked.order_id,
        resting_orders.open_shares as shares,
        null::numeric as price,
        null::timestamptz as at
    from asked
    inner join exchange.resting_orders
        on
            asked.symbol_key = resting_orders.symbol_key
            and asked.side = resting_orders.side
            and asked.price_rank = resting_orders.price_rank
            and asked.order_id = resting_orders.order_id
    union all
    select
        asked.request,
        0 as place,
        'canceled' as outcome,
        asked.order_id,
        canceled.shares,
        null as price,
        canceled.canceled_at as at
    from asked
    cross join lateral (
        select
            cancellations.shares,
            cancellations.canceled_at
        from exchange.cancellations
        where cancellations.order_id = asked.order_id
        offset 0
    ) as canceled
    where asked.side is not null
    union all
    select
        asked.request,
        executions.execution_id as place,
        'executed' as outcome,
        asked.order_id,
        executions.shares,
        executions.price,
        executions.executed_at as at
    from asked
    inner join exchange.executions on asked.order_id = executions.buy_order_id
    where asked.side = 'buy'
    union all
    select
        asked.request,
        executions.execution_id as place,
        'executed' as outcome,
        asked.order_id,
        executions.shares,
        executions.price,
        executions.executed_at as at
    from asked
    inner join exchange.executions on asked.order_id = executions.sell_order_id
    where asked.side = 'sell'
),

answers as (
    select
        parts.request,
        parts.place,
        parts.outcome,
        parts.order_id,
        parts.shares,
        parts.price,
        parts.at,
        null as code,
        null as message
    from parts
    union all
    -- An order of somebody else is as unknown as one that isn't there, so that nobody learns whose ids are in use.
    select
        asked.request,
        0 as place,
        'refused' as outcome,
        asked.order_id,
        null as shares,
        null as price,
        null as at,
        'unknown_order' as code,
        format('no such order: %s', asked.order_id) as message
    from asked
    where asked.side is null
)

select
    answers.request,
    answers.outcome,
    answers.order_id,
    trim_scale(answers.shares),
    trim_scale(answers.price),
    answers.at,
    answers.code,
    answers.message
from answers
order by answers.request, answers.place
$$;


ALTER FUNCTION exchange.query_orders(p_requests integer[], p_account_ids text[], p_order_ids bigint[]) OWNER TO exchange_owner;

--
-- Name: FUNCTION query_orders(p_requests integer[], p_account_ids text[], p_order_ids bigint[]); Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON FUNCTION exchange.query_orders(p_requests integer[], p_account_ids text[], p_order_ids bigint[]) IS 'The state of orders, each asked for by an account: at most one row open or canceled, one row for each execution, oldest first; refused where the account has no such order. Use query_order for one.';


--
-- Name: quote(integer[], exchange.side[], numeric[], bigint[], timestamp with time zone); Type: FUNCTION; Schema: exchange; Owner: exchange_owner
--

CREATE FUNCTION exchange.quote(p_symbol_keys integer[], p_sides exchange.side[], p_price_ranks numeric[], p_order_ids bigint[], p_now timestamp with time zone) RETURNS void
    LANGUAGE plpgsql
    AS $$
begin
    with changed as (
        select distinct on (touched.symbol_key, touched.side)
            touched.symbol_key,
            touched.side,
            touched.price_rank,
            touched.order_id
        from unnest(p_symbol_keys, p_sides, p_price_ranks, p_order_ids)
            as touched (symbol_key, side, price_rank, order_id)
        order by touched.symbol_key, touched.side, touched.price_rank, touched.order_id
    )

    insert into exchange.quotes (symbol_key, side, price_rank, order_id, quoted_at)
    select
        changed.symbol_key,
        changed.side,
        coalesce(best.price_rank, 'Infinity'),
        coalesce(best.order_id, 0),
        p_now
    from changed
    left join lateral (
        select
            quotes.price_rank,
            quotes.order_id
        from exchange.quotes
        where quotes.symbol_key = changed.symbol_key and quotes.side = changed.side
        order by quotes.quote_id desc
        limit 1
    ) as quoted on true
    cross join lateral (
        select
            (quoted.price_rank, quoted.order_id) <= (changed.price_rank, changed.order_id) as is_first
    ) as last_quote
    left join lateral (
        select
            resting_orders.price_rank,
            resting_orders.order_id
        from exchange.resting_orders
        where
            resting_orders.symbol_key = changed.symbol_key
            and resting_orders.side = changed.side
            and (resting_orders.price_rank, resting_orders.order_id) >= (
                case when last_quote.is_first then quoted.price_rank else changed.price_rank end,
                case when last_quote.is_first then quoted.order_id else changed.order_id end
            )
        order by resting_orders.price_rank, resting_orders.order_id
        limit 1
    ) as best on true
    where (coalesce(best.price_rank, 'Infinity'), coalesce(best.order_id, 0)) is distinct from (quoted.price_rank, quoted.order_id);
end
$$;


ALTER FUNCTION exchange.quote(p_symbol_keys integer[], p_sides exchange.side[], p_price_ranks numeric[], p_order_ids bigint[], p_now timestamp with time zone) OWNER TO exchange_owner;

--
-- Name: FUNCTION quote(p_symbol_keys integer[], p_sides exchange.side[], p_price_ranks numeric[], p_order_ids bigint[], p_now timestamp with time zone); Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON FUNCTION exchange.quote(p_symbol_keys integer[], p_sides exchange.side[], p_price_ranks numeric[], p_order_ids bigint[], p_now timestamp with time zone) IS 'Adds to quotes the best order of each side of the book that is named, where it is not the last one quoted. Named are orders placed, filled or cancelled there. The caller holds the symbols'' locks.';


--
-- Name: refusal(text, text, text, numeric, numeric); Type: FUNCTION; Schema: exchange; Owner: exchange_owner
--

CREATE FUNCTION exchange.refusal(p_code text, p_account_id text, p_sym text, p_amount numeric, p_limit numeric) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE p_code WHEN 'unknown_account'::text THEN format('no such account: %s'::text, COALESCE(p_account_id, 'null'::text)) WHEN 'unknown_symbol'::text THEN format('no such symbol: %s'::text, COALESCE(p_sym, 'null'::text)) WHEN 'account_frozen'::text THEN format('account %s is frozen: it may query and cancel orders, but place none'::text, p_account_id) WHEN 'symbol_halted'::text THEN format('trading of %s is halted: orders can be queried and cancelled, but not placed'::text, p_sym) WHEN 'invalid_amount'::text THEN format('amount %s is not allowed: shares to buy (more than 0) or to sell (less than 0), at most 18 digits before and 12 after the point'::text, COALESCE((p_amount)::text, 'null'::text)) WHEN 'invalid_limit'::text THEN format('limit %s is not allowed: a price of more than 0, at most 18 digits before and 12 after the point'::text, COALESCE((p_limit)::text, 'null'::text)) ELSE NULL::text END;


ALTER FUNCTION exchange.refusal(p_code text, p_account_id text, p_sym text, p_amount numeric, p_limit numeric) OWNER TO exchange_owner;

--
-- Name: FUNCTION refusal(p_code text, p_account_id text, p_sym text, p_amount numeric, p_limit numeric); Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON FUNCTION exchange.refusal(p_code text, p_account_id text, p_sym text, p_amount numeric, p_limit numeric) IS 'What to tell a client whose order was refused for what it says: the text for a code, null for other codes.';


--
-- Name: resume_symbol(text); Type: FUNCTION; Schema: exchange; Owner: exchange_owner
--

CREATE FUNCTION exchange.resume_symbol(p_sym text, OUT outcome text, OUT code text, OUT message text) RETURNS record
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'exchange', 'pg_temp'
    AS $$
begin
    -- Lock 2 of 3: the symbol.
    perform pg_advisory_xact_lock(5000, exchange.symbol_slot(p_sym));

    update exchange.symbols
    set halted_at = null
    where symbols.sym = p_sym;

    if not found then
        outcome := 'refused';
        code := 'unknown_symbol';
        message := exchange.refusal(code, null, p_sym, null, null);
        return;
    end if;
    outcome := 'resumed';
    message := format('%s can be traded', p_sym);
end
$$;


ALTER FUNCTION exchange.resume_symbol(p_sym text, OUT outcome text, OUT code text, OUT message text) OWNER TO exchange_owner;

--
-- Name: FUNCTION resume_symbol(p_sym text, OUT outcome text, OUT code text, OUT message text); Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON FUNCTION exchange.resume_symbol(p_sym text, OUT outcome text, OUT code text, OUT message text) IS 'Lets a symbol be traded again; does nothing where it was not halted. One row: resumed, or refused with the reason.';


--
-- Name: settle_account(text); Type: FUNCTION; Schema: exchange; Owner: exchange_owner
--

CREATE FUNCTION exchange.settle_account(p_account_id text, OUT outcome text, OUT code text, OUT message text) RETURNS record
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'exchange', 'pg_temp'
    AS $$
declare
    v_account_key integer;
begin
    -- Lock 3 of 3: the account. No lock of an earlier kind is needed.
    select accounts.account_key
    into v_account_key
    from exchange.accounts
    where accounts.account_id = p_account_id
    for no key update;

    if v_account_key is null then
        outcome := 'refused';
        code := 'unknown_account';
        message := exchange.refusal(code, p_account_id, null, null, null);
        return;
    end if;
    perform exchange.settle_accounts(array[v_account_key]);
    outcome := 'settled';
end
$$;


ALTER FUNCTION exchange.settle_account(p_account_id text, OUT outcome text, OUT code text, OUT message text) OWNER TO exchange_owner;

--
-- Name: FUNCTION settle_account(p_account_id text, OUT outcome text, OUT code text, OUT message text); Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON FUNCTION exchange.settle_account(p_account_id text, OUT outcome text, OUT code text, OUT message text) IS 'Folds the credits of an account into its cash and positions. Changes nothing that the account has (account_balances and account_positions count credits), only where it stands. One row: settled, or refused with the reason.';


--
-- Name: settle_accounts(integer[]); Type: FUNCTION; Schema: exchange; Owner: exchange_owner
--

CREATE FUNCTION exchange.settle_accounts(p_account_keys integer[]) RETURNS void
    LANGUAGE sql
    AS $$
update exchange.accounts
set
    cash = accounts.cash + coalesce(collected.amount, 0),
    settled_before = pg_snapshot_xmin(pg_current_snapshot())
from unnest(p_account_keys) as due (account_key)
left join exchange.collect_credits(
    p_account_keys, array_fill('0'::xid8, array[cardinality(p_account_keys)]), '{}'
) as collected on due.account_key = collected.account_key
where accounts.account_key = due.account_key
$$;


ALTER FUNCTION exchange.settle_accounts(p_account_keys integer[]) OWNER TO exchange_owner;

--
-- Name: FUNCTION settle_accounts(p_account_keys integer[]); Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON FUNCTION exchange.settle_accounts(p_account_keys integer[]) IS 'Folds the credits of these accounts into their cash and positions. The caller holds the accounts'' row locks: use settle_account.';


--
-- Name: settle_idle_accounts(integer); Type: FUNCTION; Schema: exchange; Owner: exchange_owner
--

CREATE FUNCTION exchange.settle_idle_accounts(p_limit integer DEFAULT 1000) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'exchange', 'pg_temp'
    AS $$
declare
    v_account_keys integer[];
begin
    -- Lock 3 of 3: the accounts, ascending.
    select coalesce(array_agg(idle.account_key), '{}')
    into v_account_keys
    from (
        select accounts.account_key
        from exchange.accounts
        where accounts.account_key in (select credits.account_key from exchange.credits)
        order by accounts.account_key
        limit p_limit
        for no key update skip locked
    ) as idle;

    perform exchange.settle_accounts(v_account_keys);
    return cardinality(v_account_keys);
end
$$;


ALTER FUNCTION exchange.settle_idle_accounts(p_limit integer) OWNER TO exchange_owner;

--
-- Name: FUNCTION settle_idle_accounts(p_limit integer); Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON FUNCTION exchange.settle_idle_accounts(p_limit integer) IS 'Folds the credits of up to p_limit accounts that nobody has locked; returns how many accounts. For a regular sweep.';


--
-- Name: symbol_slot(text); Type: FUNCTION; Schema: exchange; Owner: exchange_owner
--

CREATE FUNCTION exchange.symbol_slot(p_sym text) RETURNS integer
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (hashtext(p_sym) & 255);


ALTER FUNCTION exchange.symbol_slot(p_sym text) OWNER TO exchange_owner;

--
-- Name: FUNCTION symbol_slot(p_sym text); Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON FUNCTION exchange.symbol_slot(p_sym text) IS 'The slot, 0 to 255, of the advisory lock that guards a symbol: pg_locks shows it as objid, with classid 5000.';


--
-- Name: unfreeze_account(text); Type: FUNCTION; Schema: exchange; Owner: exchange_owner
--

CREATE FUNCTION exchange.unfreeze_account(p_account_id text, OUT outcome text, OUT code text, OUT message text) RETURNS record
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'exchange', 'pg_temp'
    AS $$
begin
    -- Lock 3 of 3: the account, by the update.
    update exchange.accounts
    set frozen_at = null
    where accounts.account_id = p_account_id;

    if not found then
        outcome := 'refused';
        code := 'unknown_account';
        message := exchange.refusal(code, p_account_id, null, null, null);
        return;
    end if;
    outcome := 'unfrozen';
    message := format('account %s can place orders', p_account_id);
end
$$;


ALTER FUNCTION exchange.unfreeze_account(p_account_id text, OUT outcome text, OUT code text, OUT message text) OWNER TO exchange_owner;

--
-- Name: FUNCTION unfreeze_account(p_account_id text, OUT outcome text, OUT code text, OUT message text); Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON FUNCTION exchange.unfreeze_account(p_account_id text, OUT outcome text, OUT code text, OUT message text) IS 'Lets an account place orders again; does nothing where it was not frozen. One row: unfrozen, or refused with the reason.';


SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: accounts; Type: TABLE; Schema: exchange; Owner: exchange_owner
--

CREATE TABLE exchange.accounts (
    account_key integer NOT NULL,
    account_id text NOT NULL COLLATE pg_catalog."C",
    cash numeric NOT NULL,
    settled_before xid8 DEFAULT '0'::xid8 NOT NULL,
    created_at timestamp with time zone NOT NULL,
    frozen_at timestamp with time zone,
    CONSTRAINT accounts_account_id_is_digits CHECK (((account_id <> ''::text) AND (btrim(account_id, '0123456789'::text) = ''::text) AND (length(account_id) <= 255))),
    CONSTRAINT accounts_cash_never_negative CHECK (((cash >= (0)::numeric) AND (cash < 'Infinity'::numeric)))
)
WITH (fillfactor='50', autovacuum_vacuum_scale_factor='0.1');


ALTER TABLE exchange.accounts OWNER TO exchange_owner;

--
-- Name: TABLE accounts; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON TABLE exchange.accounts IS 'One row for each account, with its settled cash. Updated only by transactions of its own, under its row lock; what others owe it waits in credits. Read account_balances to see what an account has.';


--
-- Name: COLUMN accounts.account_key; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.accounts.account_key IS 'Internal key: short, and the order in which account rows are locked.';


--
-- Name: COLUMN accounts.account_id; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.accounts.account_id IS 'The client''s own identifier: digits, as written (007 is not 7).';


--
-- Name: COLUMN accounts.cash; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.accounts.cash IS 'Settled cash that is free to spend: reserved cash has already left it.';


--
-- Name: COLUMN accounts.settled_before; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.accounts.settled_before IS 'Credits of transactions before this one are in the row already. Only spares a look at them: the sweep folds whatever there is, also where a restored copy has transaction ids that make no sense here.';


--
-- Name: COLUMN accounts.created_at; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.accounts.created_at IS 'When the account was created.';


--
-- Name: COLUMN accounts.frozen_at; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.accounts.frozen_at IS 'Since when the account may place no orders (freeze_account); null where it may.';


--
-- Name: credits; Type: TABLE; Schema: exchange; Owner: exchange_owner
--

CREATE TABLE exchange.credits (
    account_key integer NOT NULL,
    transaction_id xid8 DEFAULT pg_current_xact_id() NOT NULL,
    credit_id bigint NOT NULL,
    symbol_key integer,
    amount numeric NOT NULL,
    CONSTRAINT credits_amount_positive CHECK ((amount > (0)::numeric))
)
WITH (autovacuum_vacuum_scale_factor='0.02', autovacuum_vacuum_cost_delay='0');


ALTER TABLE exchange.credits OWNER TO exchange_owner;

--
-- Name: TABLE credits; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON TABLE exchange.credits IS 'Money and shares owed to an account and not yet folded into its row: proceeds, shares bought, refunds, grants. Appended without a lock on the account; folded (deleted and added) by the account''s own next transaction.';


--
-- Name: COLUMN credits.account_key; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.credits.account_key IS 'Whom it is owed to.';


--
-- Name: COLUMN credits.transaction_id; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.credits.transaction_id IS 'The transaction that owes it. An account that has seen all credits of transactions before some point need not step over their dead index entries again, which is what a long snapshot elsewhere would make it do.';


--
-- Name: COLUMN credits.credit_id; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.credits.credit_id IS 'Ascends in the order of insertion, no more.';


--
-- Name: COLUMN credits.symbol_key; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.credits.symbol_key IS 'The symbol of the shares; null where it is money.';


--
-- Name: COLUMN credits.amount; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.credits.amount IS 'Money, or shares of that symbol; always positive.';


--
-- Name: account_balances; Type: VIEW; Schema: exchange; Owner: exchange_owner
--

CREATE VIEW exchange.account_balances AS
 SELECT accounts.account_id,
    (accounts.cash + COALESCE(owed.amount, (0)::numeric)) AS cash,
    accounts.cash AS settled_cash,
    COALESCE(owed.amount, (0)::numeric) AS unsettled_cash
   FROM (exchange.accounts
     LEFT JOIN ( SELECT credits.account_key,
            sum(credits.amount) AS amount
           FROM exchange.credits
          WHERE (credits.symbol_key IS NULL)
          GROUP BY credits.account_key) owed ON ((accounts.account_key = owed.account_key)));


ALTER TABLE exchange.account_balances OWNER TO exchange_owner;

--
-- Name: VIEW account_balances; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON VIEW exchange.account_balances IS 'The cash that each account can spend.';


--
-- Name: COLUMN account_balances.account_id; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.account_balances.account_id IS 'The client''s own identifier.';


--
-- Name: COLUMN account_balances.cash; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.account_balances.cash IS 'Free cash: settled and unsettled. Cash reserved by open buys is not in it.';


--
-- Name: COLUMN account_balances.settled_cash; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.account_balances.settled_cash IS 'What is in the account''s row.';


--
-- Name: COLUMN account_balances.unsettled_cash; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.account_balances.unsettled_cash IS 'What waits in credits.';


--
-- Name: positions; Type: TABLE; Schema: exchange; Owner: exchange_owner
--

CREATE TABLE exchange.positions (
    account_key integer NOT NULL,
    symbol_key integer NOT NULL,
    shares numeric NOT NULL,
    CONSTRAINT positions_shares_never_negative CHECK (((shares >= (0)::numeric) AND (shares < 'Infinity'::numeric)))
)
WITH (fillfactor='50', autovacuum_vacuum_scale_factor='0.1');


ALTER TABLE exchange.positions OWNER TO exchange_owner;

--
-- Name: TABLE positions; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON TABLE exchange.positions IS 'Settled shares of each account in each symbol. Updated only under the row lock of the account. Read account_positions to see what an account has.';


--
-- Name: COLUMN positions.account_key; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.positions.account_key IS 'The account that holds the shares.';


--
-- Name: COLUMN positions.symbol_key; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.positions.symbol_key IS 'The symbol that the shares are of.';


--
-- Name: COLUMN positions.shares; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.positions.shares IS 'Settled shares that are free to sell: reserved shares have already left.';


--
-- Name: symbols; Type: TABLE; Schema: exchange; Owner: exchange_owner
--

CREATE TABLE exchange.symbols (
    symbol_key integer NOT NULL,
    sym text NOT NULL COLLATE pg_catalog."C",
    created_at timestamp with time zone NOT NULL,
    halted_at timestamp with time zone,
    CONSTRAINT symbols_sym_is_alphanumeric CHECK ((sym ~ '^[A-Za-z0-9]{1,255}$'::text))
);


ALTER TABLE exchange.symbols OWNER TO exchange_owner;

--
-- Name: TABLE symbols; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON TABLE exchange.symbols IS 'One row for each symbol that can be traded.';


--
-- Name: COLUMN symbols.symbol_key; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.symbols.symbol_key IS 'Internal key, short.';


--
-- Name: COLUMN symbols.sym; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.symbols.sym IS 'The symbol as clients write it: ASCII letters and digits.';


--
-- Name: COLUMN symbols.created_at; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.symbols.created_at IS 'When the symbol was first seen in a <create>.';


--
-- Name: COLUMN symbols.halted_at; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.symbols.halted_at IS 'Since when nobody may place orders for it (halt_symbol); null where they may.';


--
-- Name: account_positions; Type: VIEW; Schema: exchange; Owner: exchange_owner
--

CREATE VIEW exchange.account_positions AS
 SELECT accounts.account_id,
    symbols.sym,
    sum((held.settled + held.unsettled)) AS shares,
    sum(held.settled) AS settled_shares,
    sum(held.unsettled) AS unsettled_shares
   FROM ((( SELECT positions.account_key,
            positions.symbol_key,
            positions.shares AS settled,
            0 AS unsettled
           FROM exchange.positions
        UNION ALL
         SELECT credits.account_key,
            credits.symbol_key,
            0 AS settled,
            credits.amount AS unsettled
           FROM exchange.credits
          WHERE (credits.symbol_key IS NOT NULL)) held
     JOIN exchange.accounts ON ((held.account_key = accounts.account_key)))
     JOIN exchange.symbols ON ((held.symbol_key = symbols.symbol_key)))
  GROUP BY accounts.account_id, symbols.sym;


ALTER TABLE exchange.account_positions OWNER TO exchange_owner;

--
-- Name: VIEW account_positions; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON VIEW exchange.account_positions IS 'The shares that each account can sell, by symbol.';


--
-- Name: COLUMN account_positions.account_id; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.account_positions.account_id IS 'The client''s own identifier.';


--
-- Name: COLUMN account_positions.sym; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.account_positions.sym IS 'The symbol.';


--
-- Name: COLUMN account_positions.shares; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.account_positions.shares IS 'Free shares: settled and unsettled. Shares reserved by open sells are not in it.';


--
-- Name: COLUMN account_positions.settled_shares; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.account_positions.settled_shares IS 'What is in the account''s position row.';


--
-- Name: COLUMN account_positions.unsettled_shares; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.account_positions.unsettled_shares IS 'What waits in credits.';


--
-- Name: cancellations; Type: TABLE; Schema: exchange; Owner: exchange_owner
--

CREATE TABLE exchange.cancellations (
    order_id bigint NOT NULL,
    shares numeric NOT NULL,
    canceled_at timestamp with time zone NOT NULL,
    CONSTRAINT cancellations_shares_positive CHECK ((shares > (0)::numeric))
);


ALTER TABLE exchange.cancellations OWNER TO exchange_owner;

--
-- Name: TABLE cancellations; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON TABLE exchange.cancellations IS 'Every cancel: the open part that it ended. History: rows are added and never changed.';


--
-- Name: COLUMN cancellations.order_id; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.cancellations.order_id IS 'The order, in orders; an order can be cancelled once.';


--
-- Name: COLUMN cancellations.shares; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.cancellations.shares IS 'The open shares that the cancel ended.';


--
-- Name: COLUMN cancellations.canceled_at; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.cancellations.canceled_at IS 'When.';


--
-- Name: deposits; Type: TABLE; Schema: exchange; Owner: exchange_owner
--

CREATE TABLE exchange.deposits (
    deposit_id bigint NOT NULL,
    account_key integer NOT NULL,
    symbol_key integer,
    amount numeric NOT NULL,
    deposited_at timestamp with time zone NOT NULL,
    CONSTRAINT deposits_amount_positive CHECK ((amount > (0)::numeric))
);


ALTER TABLE exchange.deposits OWNER TO exchange_owner;

--
-- Name: TABLE deposits; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON TABLE exchange.deposits IS 'All money and shares that ever entered the exchange: opening balances and grants. History: rows are added and never changed. Trading only moves what stands here, which is how conservation is checked.';


--
-- Name: COLUMN deposits.deposit_id; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.deposits.deposit_id IS 'Ascends in the order of deposit.';


--
-- Name: COLUMN deposits.account_key; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.deposits.account_key IS 'Who received it.';


--
-- Name: COLUMN deposits.symbol_key; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.deposits.symbol_key IS 'The symbol of the shares; null where it is money.';


--
-- Name: COLUMN deposits.amount; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.deposits.amount IS 'Money, or shares of that symbol.';


--
-- Name: COLUMN deposits.deposited_at; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.deposits.deposited_at IS 'When.';


--
-- Name: executions; Type: TABLE; Schema: exchange; Owner: exchange_owner
--

CREATE TABLE exchange.executions (
    execution_id bigint NOT NULL,
    symbol_key integer NOT NULL,
    buy_order_id bigint NOT NULL,
    sell_order_id bigint NOT NULL,
    shares numeric NOT NULL,
    price numeric NOT NULL,
    buy_limit numeric NOT NULL,
    sell_limit numeric NOT NULL,
    executed_at timestamp with time zone NOT NULL,
    CONSTRAINT executions_limits_cross CHECK ((buy_limit >= sell_limit)),
    CONSTRAINT executions_price_is_limit_of_earlier_order CHECK ((price =
CASE
    WHEN (buy_order_id < sell_order_id) THEN buy_limit
    ELSE sell_limit
END)),
    CONSTRAINT executions_shares_positive CHECK ((shares > (0)::numeric))
)
PARTITION BY RANGE (execution_id);


ALTER TABLE exchange.executions OWNER TO exchange_owner;

--
-- Name: TABLE executions; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON TABLE exchange.executions IS 'Every fill. History: rows are added and never changed. The constraints are the market''s rule: limits cross, and the price is the limit of the order that was open first. Cut by execution_id into partitions, as orders is.';


--
-- Name: COLUMN executions.execution_id; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.executions.execution_id IS 'Ascends, within a symbol, in the order of execution.';


--
-- Name: COLUMN executions.symbol_key; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.executions.symbol_key IS 'The symbol.';


--
-- Name: COLUMN executions.buy_order_id; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.executions.buy_order_id IS 'The order that bought.';


--
-- Name: COLUMN executions.sell_order_id; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.executions.sell_order_id IS 'The order that sold.';


--
-- Name: COLUMN executions.shares; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.executions.shares IS 'How many shares changed hands.';


--
-- Name: COLUMN executions.price; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.executions.price IS 'Price of one share: the limit of the order that was open first.';


--
-- Name: COLUMN executions.buy_limit; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.executions.buy_limit IS 'The buy order''s limit, repeated so that this row can prove its price.';


--
-- Name: COLUMN executions.sell_limit; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.executions.sell_limit IS 'The sell order''s limit, likewise.';


--
-- Name: COLUMN executions.executed_at; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.executions.executed_at IS 'When.';


--
-- Name: orders; Type: TABLE; Schema: exchange; Owner: exchange_owner
--

CREATE TABLE exchange.orders (
    order_id bigint NOT NULL,
    account_key integer NOT NULL,
    symbol_key integer NOT NULL,
    side exchange.side NOT NULL,
    shares numeric NOT NULL,
    limit_price numeric NOT NULL,
    placed_at timestamp with time zone NOT NULL,
    CONSTRAINT orders_limit_price_positive CHECK (((limit_price > (0)::numeric) AND (limit_price < 'Infinity'::numeric))),
    CONSTRAINT orders_shares_positive CHECK (((shares > (0)::numeric) AND (shares < 'Infinity'::numeric)))
)
PARTITION BY RANGE (order_id);


ALTER TABLE exchange.orders OWNER TO exchange_owner;

--
-- Name: TABLE orders; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON TABLE exchange.orders IS 'Every order as it was placed. History: rows are added and never changed. Cut by order_id into partitions, so that old ones can be moved out.';


--
-- Name: COLUMN orders.order_id; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.orders.order_id IS 'The id that the client is told. Ids of one symbol ascend in the order in which its orders were placed.';


--
-- Name: COLUMN orders.account_key; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.orders.account_key IS 'The account that placed it.';


--
-- Name: COLUMN orders.symbol_key; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.orders.symbol_key IS 'The symbol that it buys or sells.';


--
-- Name: COLUMN orders.side; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.orders.side IS 'buy or sell.';


--
-- Name: COLUMN orders.shares; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.orders.shares IS 'How many shares it was for when placed; always positive.';


--
-- Name: COLUMN orders.limit_price; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.orders.limit_price IS 'The highest price to buy at, the lowest to sell at.';


--
-- Name: COLUMN orders.placed_at; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.orders.placed_at IS 'When it was placed.';


--
-- Name: account_statement; Type: VIEW; Schema: exchange; Owner: exchange_owner
--

CREATE VIEW exchange.account_statement AS
 SELECT accounts.account_id,
    entries.at,
    entries.cause,
    symbols.sym,
    entries.order_id,
    entries.execution_id,
    trim_scale(NULLIF(entries.cash_change, (0)::numeric)) AS cash_change,
    trim_scale(sum(entries.cash_change) OVER by_account) AS cash,
    trim_scale(entries.shares_change) AS shares_change,
    trim_scale(sum(entries.shares_change) OVER by_position) AS shares,
    row_number() OVER by_account AS entry
   FROM ((( SELECT deposits.account_key,
            deposits.deposited_at AS at,
                CASE
                    WHEN (deposits.symbol_key IS NULL) THEN 'deposit'::text
                    ELSE 'grant'::text
                END AS cause,
            deposits.symbol_key,
            NULL::bigint AS order_id,
            NULL::bigint AS execution_id,
                CASE
                    WHEN (deposits.symbol_key IS NULL) THEN deposits.amount
                    ELSE (0)::numeric
                END AS cash_change,
                CASE
                    WHEN (deposits.symbol_key IS NOT NULL) THEN deposits.amount
                    ELSE NULL::numeric
                END AS shares_change,
            (0)::bigint AS taker_order_id,
            deposits.deposit_id AS place
           FROM exchange.deposits
        UNION ALL
         SELECT orders.account_key,
            orders.placed_at AS at,
            'reserve'::text AS cause,
            orders.symbol_key,
            orders.order_id,
            NULL::bigint AS execution_id,
                CASE orders.side
                    WHEN 'buy'::exchange.side THEN ((- orders.shares) * orders.limit_price)
                    ELSE (0)::numeric
                END AS cash_change,
                CASE orders.side
                    WHEN 'sell'::exchange.side THEN (- orders.shares)
                    ELSE NULL::numeric
                END AS shares_change,
            orders.order_id AS taker_order_id,
            0 AS place
           FROM exchange.orders
        UNION ALL
         SELECT orders.account_key,
            executions.executed_at AS at,
            'bought'::text AS cause,
            executions.symbol_key,
            orders.order_id,
            executions.execution_id,
            (executions.shares * (executions.buy_limit - executions.price)) AS cash_change,
            executions.shares AS shares_change,
            GREATEST(executions.buy_order_id, executions.sell_order_id) AS taker_order_id,
            executions.execution_id AS place
           FROM (exchange.orders
             JOIN exchange.executions ON ((orders.order_id = executions.buy_order_id)))
        UNION ALL
         SELECT orders.account_key,
            executions.executed_at AS at,
            'sold'::text AS cause,
            executions.symbol_key,
            orders.order_id,
            executions.execution_id,
            (executions.shares * executions.price) AS cash_change,
            NULL::numeric AS shares_change,
            GREATEST(executions.buy_order_id, executions.sell_order_id) AS taker_order_id,
            executions.execution_id AS place
           FROM (exchange.orders
             JOIN exchange.executions ON ((orders.order_id = executions.sell_order_id)))
        UNION ALL
         SELECT orders.account_key,
            cancellations.canceled_at AS at,
            'cancel'::text AS cause,
            orders.symbol_key,
            orders.order_id,
            NULL::bigint AS execution_id,
                CASE orders.side
                    WHEN 'buy'::exchange.side THEN (cancellations.shares * orders.limit_price)
                    ELSE (0)::numeric
                END AS cash_change,
                CASE orders.side
                    WHEN 'sell'::exchange.side THEN cancellations.shares
                    ELSE NULL::numeric
                END AS shares_change,
            orders.order_id AS taker_order_id,
            '9223372036854775807'::bigint AS place
           FROM (exchange.orders
             JOIN exchange.cancellations ON ((orders.order_id = cancellations.order_id)))) entries
     JOIN exchange.accounts ON ((entries.account_key = accounts.account_key)))
     LEFT JOIN exchange.symbols ON ((entries.symbol_key = symbols.symbol_key)))
  WINDOW by_account AS (PARTITION BY accounts.account_id ORDER BY entries.at, entries.taker_order_id, entries.place, entries.order_id ROWS UNBOUNDED PRECEDING), by_position AS (PARTITION BY accounts.account_id, symbols.sym ORDER BY entries.at, entries.taker_order_id, entries.place, entries.order_id ROWS UNBOUNDED PRECEDING)
  ORDER BY accounts.account_id, (row_number() OVER by_account);


ALTER TABLE exchange.account_statement OWNER TO exchange_owner;

--
-- Name: VIEW account_statement; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON VIEW exchange.account_statement IS 'Every change of what an account can spend or sell, with its cause and the running balance; the last ones are what account_balances and account_positions say. In the order of the server''s clock. Ask for one: where account_id = ''1''. Reads the whole history of orders, which has no index by account: ask a standby if it is long.';


--
-- Name: COLUMN account_statement.account_id; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.account_statement.account_id IS 'The account.';


--
-- Name: COLUMN account_statement.at; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.account_statement.at IS 'When.';


--
-- Name: COLUMN account_statement.cause; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.account_statement.cause IS 'deposit (of money), grant (of shares), reserve (an order was placed), bought (shares come in, and what was reserved above the price goes back), sold (money comes in), cancel (what was reserved for the open part goes back).';


--
-- Name: COLUMN account_statement.sym; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.account_statement.sym IS 'The symbol; null for a deposit.';


--
-- Name: COLUMN account_statement.order_id; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.account_statement.order_id IS 'The account''s order; null for a deposit or grant.';


--
-- Name: COLUMN account_statement.execution_id; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.account_statement.execution_id IS 'The fill, where it is one.';


--
-- Name: COLUMN account_statement.cash_change; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.account_statement.cash_change IS 'Money that came (went, if negative); null where none did.';


--
-- Name: COLUMN account_statement.cash; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.account_statement.cash IS 'Free cash afterwards.';


--
-- Name: COLUMN account_statement.shares_change; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.account_statement.shares_change IS 'Shares that came (went, if negative); null where none did.';


--
-- Name: COLUMN account_statement.shares; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.account_statement.shares IS 'Free shares of this symbol afterwards.';


--
-- Name: COLUMN account_statement.entry; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.account_statement.entry IS 'Numbers the account''s entries, from 1.';


--
-- Name: accounts_account_key_seq; Type: SEQUENCE; Schema: exchange; Owner: exchange_owner
--

ALTER TABLE exchange.accounts ALTER COLUMN account_key ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME exchange.accounts_account_key_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: applied_files; Type: TABLE; Schema: exchange; Owner: exchange_owner
--

CREATE TABLE exchange.applied_files (
    applied_file_id integer NOT NULL,
    kind text NOT NULL,
    name text NOT NULL,
    checksum text NOT NULL,
    functions jsonb DEFAULT '{}'::jsonb NOT NULL,
    pgbourse_version text NOT NULL,
    applied_by text DEFAULT SESSION_USER NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT applied_files_kind_known CHECK ((kind = ANY (ARRAY['migration'::text, 'function'::text])))
);


ALTER TABLE exchange.applied_files OWNER TO exchange_owner;

--
-- Name: TABLE applied_files; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON TABLE exchange.applied_files IS 'Every file of sql/migrations and sql/functions that was applied here, oldest first; the newest row of a name is what holds. Written by "pgbourse migrate", in the transaction of the file itself.';


--
-- Name: COLUMN applied_files.applied_file_id; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.applied_files.applied_file_id IS 'Ascends in the order of application.';


--
-- Name: COLUMN applied_files.kind; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.applied_files.kind IS 'migration (applied once) or function (applied when its text changes).';


--
-- Name: COLUMN applied_files.name; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.applied_files.name IS 'The file''s name without .sql.';


--
-- Name: COLUMN applied_files.checksum; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.applied_files.checksum IS 'SHA-256 of the file''s text, in hexadecimal.';


--
-- Name: COLUMN applied_files.functions; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.applied_files.functions IS 'For each function that the file created or changed: its signature, and the MD5 of its definition, owner, rights and comment as the file left them. "pgbourse migrate --check" compares.';


--
-- Name: COLUMN applied_files.pgbourse_version; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.applied_files.pgbourse_version IS 'The version of pgbourse that applied it.';


--
-- Name: COLUMN applied_files.applied_by; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.applied_files.applied_by IS 'The role that applied it.';


--
-- Name: COLUMN applied_files.applied_at; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.applied_files.applied_at IS 'When.';


--
-- Name: applied_files_applied_file_id_seq; Type: SEQUENCE; Schema: exchange; Owner: exchange_owner
--

ALTER TABLE exchange.applied_files ALTER COLUMN applied_file_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME exchange.applied_files_applied_file_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: quotes; Type: TABLE; Schema: exchange; Owner: exchange_owner
--

CREATE TABLE exchange.quotes (
    symbol_key integer NOT NULL,
    side exchange.side NOT NULL,
    quote_id bigint NOT NULL,
    price_rank numeric NOT NULL,
    order_id bigint NOT NULL,
    quoted_at timestamp with time zone NOT NULL
);


ALTER TABLE exchange.quotes OWNER TO exchange_owner;

--
-- Name: TABLE quotes; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON TABLE exchange.quotes IS 'The tape of best bid and best ask: a row for each change that a transaction leaves behind. History: rows are added and never changed. The newest row of a side also tells the match where the book begins, so that it steps over no index entries of orders long gone, which a long snapshot in another session would keep from being removed.';


--
-- Name: COLUMN quotes.symbol_key; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.quotes.symbol_key IS 'The symbol.';


--
-- Name: COLUMN quotes.side; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.quotes.side IS 'buy: the best bid. sell: the best ask.';


--
-- Name: COLUMN quotes.quote_id; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.quotes.quote_id IS 'Ascends, within a symbol, in time.';


--
-- Name: COLUMN quotes.price_rank; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.quotes.price_rank IS 'The rank of the best resting order (see resting_orders); Infinity where there is none.';


--
-- Name: COLUMN quotes.order_id; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.quotes.order_id IS 'The best resting order; 0 where the side is empty.';


--
-- Name: COLUMN quotes.quoted_at; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.quotes.quoted_at IS 'Since when it was the best.';


--
-- Name: resting_orders; Type: TABLE; Schema: exchange; Owner: exchange_owner
--

CREATE TABLE exchange.resting_orders (
    symbol_key integer NOT NULL,
    side exchange.side NOT NULL,
    price_rank numeric NOT NULL,
    order_id bigint NOT NULL,
    account_key integer NOT NULL,
    open_shares numeric NOT NULL,
    CONSTRAINT resting_orders_open_shares_positive CHECK ((open_shares > (0)::numeric)),
    CONSTRAINT resting_orders_price_rank_has_sides_sign CHECK (
CASE side
    WHEN 'buy'::exchange.side THEN (price_rank < (0)::numeric)
    ELSE (price_rank > (0)::numeric)
END)
)
WITH (fillfactor='70', autovacuum_vacuum_scale_factor='0.02', autovacuum_vacuum_cost_delay='0');


ALTER TABLE exchange.resting_orders OWNER TO exchange_owner;

--
-- Name: TABLE resting_orders; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON TABLE exchange.resting_orders IS 'The book: the open part of each order. Its primary key is price-time priority: read in key order, one side of a symbol comes best price first, and at one price the earlier order first. Read order_book for prices and symbols.';


--
-- Name: COLUMN resting_orders.symbol_key; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.resting_orders.symbol_key IS 'The symbol.';


--
-- Name: COLUMN resting_orders.side; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.resting_orders.side IS 'buy or sell.';


--
-- Name: COLUMN resting_orders.price_rank; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.resting_orders.price_rank IS 'The limit, negative for a buy, so that ascending is best first on both sides: highest bid, lowest ask.';


--
-- Name: COLUMN resting_orders.order_id; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.resting_orders.order_id IS 'The order, in orders.';


--
-- Name: COLUMN resting_orders.account_key; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.resting_orders.account_key IS 'The account that placed it, repeated here to spare the match a look-up.';


--
-- Name: COLUMN resting_orders.open_shares; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.resting_orders.open_shares IS 'What is neither executed nor cancelled; always positive.';


--
-- Name: best_bid_ask; Type: VIEW; Schema: exchange; Owner: exchange_owner
--

CREATE VIEW exchange.best_bid_ask AS
 SELECT symbols.sym,
    trim_scale(bid.price) AS bid,
    trim_scale(bid.shares) AS bid_shares,
    trim_scale(ask.price) AS ask,
    trim_scale(ask.shares) AS ask_shares,
    trim_scale((ask.price - bid.price)) AS spread,
    bid.since AS bid_since,
    ask.since AS ask_since,
    symbols.halted_at
   FROM ((exchange.symbols
     LEFT JOIN LATERAL ( SELECT (- NULLIF(quotes.price_rank, 'Infinity'::numeric)) AS price,
            quotes.quoted_at AS since,
            ( SELECT sum(resting_orders.open_shares) AS sum
                   FROM exchange.resting_orders
                  WHERE ((resting_orders.symbol_key = quotes.symbol_key) AND (resting_orders.side = quotes.side) AND (resting_orders.price_rank = quotes.price_rank))) AS shares
           FROM exchange.quotes
          WHERE ((quotes.symbol_key = symbols.symbol_key) AND (quotes.side = 'buy'::exchange.side))
          ORDER BY quotes.quote_id DESC
         LIMIT 1) bid ON (true))
     LEFT JOIN LATERAL ( SELECT NULLIF(quotes.price_rank, 'Infinity'::numeric) AS price,
            quotes.quoted_at AS since,
            ( SELECT sum(resting_orders.open_shares) AS sum
                   FROM exchange.resting_orders
                  WHERE ((resting_orders.symbol_key = quotes.symbol_key) AND (resting_orders.side = quotes.side) AND (resting_orders.price_rank = quotes.price_rank))) AS shares
           FROM exchange.quotes
          WHERE ((quotes.symbol_key = symbols.symbol_key) AND (quotes.side = 'sell'::exchange.side))
          ORDER BY quotes.quote_id DESC
         LIMIT 1) ask ON (true));


ALTER TABLE exchange.best_bid_ask OWNER TO exchange_owner;

--
-- Name: VIEW best_bid_ask; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON VIEW exchange.best_bid_ask IS 'Best bid and best ask of each symbol, from the newest rows of quotes. Cheap however deep the book is.';


--
-- Name: COLUMN best_bid_ask.sym; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.best_bid_ask.sym IS 'The symbol.';


--
-- Name: COLUMN best_bid_ask.bid; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.best_bid_ask.bid IS 'The highest limit of an open buy; null where there is none.';


--
-- Name: COLUMN best_bid_ask.bid_shares; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.best_bid_ask.bid_shares IS 'Open shares at the bid.';


--
-- Name: COLUMN best_bid_ask.ask; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.best_bid_ask.ask IS 'The lowest limit of an open sell; null where there is none.';


--
-- Name: COLUMN best_bid_ask.ask_shares; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.best_bid_ask.ask_shares IS 'Open shares at the ask.';


--
-- Name: COLUMN best_bid_ask.spread; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.best_bid_ask.spread IS 'Ask less bid; always more than 0.';


--
-- Name: COLUMN best_bid_ask.bid_since; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.best_bid_ask.bid_since IS 'Since when the best buy order has been the best.';


--
-- Name: COLUMN best_bid_ask.ask_since; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.best_bid_ask.ask_since IS 'Since when the best sell order has been the best.';


--
-- Name: COLUMN best_bid_ask.halted_at; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.best_bid_ask.halted_at IS 'Since when trading of the symbol is halted; null where it is not.';


--
-- Name: credits_credit_id_seq; Type: SEQUENCE; Schema: exchange; Owner: exchange_owner
--

ALTER TABLE exchange.credits ALTER COLUMN credit_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME exchange.credits_credit_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: daily_volume; Type: VIEW; Schema: exchange; Owner: exchange_owner
--

CREATE VIEW exchange.daily_volume AS
 SELECT (executions.executed_at)::date AS day,
    symbols.sym,
    count(*) AS trades,
    trim_scale(sum(executions.shares)) AS shares,
    trim_scale(sum((executions.shares * executions.price))) AS value,
    trim_scale((array_agg(executions.price ORDER BY executions.execution_id))[1]) AS open,
    trim_scale(max(executions.price)) AS high,
    trim_scale(min(executions.price)) AS low,
    trim_scale((array_agg(executions.price ORDER BY executions.execution_id DESC))[1]) AS close,
    round((sum((executions.shares * executions.price)) / sum(executions.shares)), 4) AS vwap
   FROM (exchange.executions
     JOIN exchange.symbols ON ((executions.symbol_key = symbols.symbol_key)))
  GROUP BY ((executions.executed_at)::date), symbols.sym
  ORDER BY ((executions.executed_at)::date) DESC, symbols.sym;


ALTER TABLE exchange.daily_volume OWNER TO exchange_owner;

--
-- Name: VIEW daily_volume; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON VIEW exchange.daily_volume IS 'What was traded on each day (of the session''s time zone), by symbol; the newest day first.';


--
-- Name: COLUMN daily_volume.day; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.daily_volume.day IS 'The day.';


--
-- Name: COLUMN daily_volume.sym; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.daily_volume.sym IS 'The symbol.';


--
-- Name: COLUMN daily_volume.trades; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.daily_volume.trades IS 'How many fills.';


--
-- Name: COLUMN daily_volume.shares; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.daily_volume.shares IS 'How many shares changed hands.';


--
-- Name: COLUMN daily_volume.value; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.daily_volume.value IS 'What was paid for them.';


--
-- Name: COLUMN daily_volume.open; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.daily_volume.open IS 'Price of the first fill.';


--
-- Name: COLUMN daily_volume.high; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.daily_volume.high IS 'Highest price.';


--
-- Name: COLUMN daily_volume.low; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.daily_volume.low IS 'Lowest price.';


--
-- Name: COLUMN daily_volume.close; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.daily_volume.close IS 'Price of the last fill.';


--
-- Name: COLUMN daily_volume.vwap; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.daily_volume.vwap IS 'Price of a share on average (value by shares), rounded.';


--
-- Name: deposits_deposit_id_seq; Type: SEQUENCE; Schema: exchange; Owner: exchange_owner
--

ALTER TABLE exchange.deposits ALTER COLUMN deposit_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME exchange.deposits_deposit_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: depth; Type: VIEW; Schema: exchange; Owner: exchange_owner
--

CREATE VIEW exchange.depth AS
 SELECT symbols.sym,
    level.side,
    trim_scale(abs(level.price_rank)) AS price,
    level.orders,
    trim_scale(level.shares) AS shares,
    trim_scale(sum(level.shares) OVER (PARTITION BY level.symbol_key, level.side ORDER BY level.price_rank)) AS shares_up_to_here
   FROM (( SELECT resting_orders.symbol_key,
            resting_orders.side,
            resting_orders.price_rank,
            count(*) AS orders,
            sum(resting_orders.open_shares) AS shares
           FROM exchange.resting_orders
          GROUP BY resting_orders.symbol_key, resting_orders.side, resting_orders.price_rank) level
     JOIN exchange.symbols ON ((level.symbol_key = symbols.symbol_key)))
  ORDER BY symbols.sym, level.side, level.price_rank;


ALTER TABLE exchange.depth OWNER TO exchange_owner;

--
-- Name: VIEW depth; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON VIEW exchange.depth IS 'The book summed up by price: each side of a symbol, best price first.';


--
-- Name: COLUMN depth.sym; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.depth.sym IS 'The symbol.';


--
-- Name: COLUMN depth.side; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.depth.side IS 'buy or sell.';


--
-- Name: COLUMN depth.price; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.depth.price IS 'The limit.';


--
-- Name: COLUMN depth.orders; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.depth.orders IS 'How many orders are open at this limit.';


--
-- Name: COLUMN depth.shares; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.depth.shares IS 'Their open shares.';


--
-- Name: COLUMN depth.shares_up_to_here; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.depth.shares_up_to_here IS 'Open shares at this limit and all better ones: what a taker gets who goes this far.';


--
-- Name: execution_ids; Type: SEQUENCE; Schema: exchange; Owner: exchange_owner
--

CREATE SEQUENCE exchange.execution_ids
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;


ALTER TABLE exchange.execution_ids OWNER TO exchange_owner;

--
-- Name: execution_ids; Type: SEQUENCE OWNED BY; Schema: exchange; Owner: exchange_owner
--

ALTER SEQUENCE exchange.execution_ids OWNED BY exchange.executions.execution_id;


--
-- Name: SEQUENCE execution_ids; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON SEQUENCE exchange.execution_ids IS 'Gives each fill its id.';


--
-- Name: executions_1; Type: TABLE; Schema: exchange; Owner: exchange_owner
--

CREATE TABLE exchange.executions_1 (
    execution_id bigint DEFAULT nextval('exchange.execution_ids'::regclass) NOT NULL,
    symbol_key integer NOT NULL,
    buy_order_id bigint NOT NULL,
    sell_order_id bigint NOT NULL,
    shares numeric NOT NULL,
    price numeric NOT NULL,
    buy_limit numeric NOT NULL,
    sell_limit numeric NOT NULL,
    executed_at timestamp with time zone NOT NULL,
    CONSTRAINT executions_limits_cross CHECK ((buy_limit >= sell_limit)),
    CONSTRAINT executions_price_is_limit_of_earlier_order CHECK ((price =
CASE
    WHEN (buy_order_id < sell_order_id) THEN buy_limit
    ELSE sell_limit
END)),
    CONSTRAINT executions_shares_positive CHECK ((shares > (0)::numeric))
);


ALTER TABLE exchange.executions_1 OWNER TO exchange_owner;

--
-- Name: TABLE executions_1; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON TABLE exchange.executions_1 IS 'Part of executions, which has the comments.';


--
-- Name: open_orders; Type: VIEW; Schema: exchange; Owner: exchange_owner
--

CREATE VIEW exchange.open_orders AS
 SELECT resting_orders.order_id,
    accounts.account_id,
    symbols.sym,
    resting_orders.side,
    trim_scale(abs(resting_orders.price_rank)) AS limit_price,
    trim_scale(orders.shares) AS shares,
    trim_scale(resting_orders.open_shares) AS open_shares,
    trim_scale(
        CASE resting_orders.side
            WHEN 'buy'::exchange.side THEN (resting_orders.open_shares * (- resting_orders.price_rank))
            ELSE NULL::numeric
        END) AS reserved_cash,
    trim_scale(
        CASE resting_orders.side
            WHEN 'sell'::exchange.side THEN resting_orders.open_shares
            ELSE NULL::numeric
        END) AS reserved_shares,
    orders.placed_at
   FROM (((exchange.resting_orders
     JOIN exchange.symbols ON ((resting_orders.symbol_key = symbols.symbol_key)))
     JOIN exchange.accounts ON ((resting_orders.account_key = accounts.account_key)))
     LEFT JOIN exchange.orders ON ((resting_orders.order_id = orders.order_id)));


ALTER TABLE exchange.open_orders OWNER TO exchange_owner;

--
-- Name: VIEW open_orders; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON VIEW exchange.open_orders IS 'Every order that has open shares, with what is reserved for it. In the order of matching: see order_book.';


--
-- Name: COLUMN open_orders.order_id; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.open_orders.order_id IS 'The order.';


--
-- Name: COLUMN open_orders.account_id; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.open_orders.account_id IS 'The account that placed it.';


--
-- Name: COLUMN open_orders.sym; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.open_orders.sym IS 'The symbol.';


--
-- Name: COLUMN open_orders.side; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.open_orders.side IS 'buy or sell.';


--
-- Name: COLUMN open_orders.limit_price; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.open_orders.limit_price IS 'The highest price to buy at, the lowest to sell at.';


--
-- Name: COLUMN open_orders.shares; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.open_orders.shares IS 'How many shares it was placed for.';


--
-- Name: COLUMN open_orders.open_shares; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.open_orders.open_shares IS 'What is neither executed nor cancelled.';


--
-- Name: COLUMN open_orders.reserved_cash; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.open_orders.reserved_cash IS 'Cash that has left the account for the open shares of a buy.';


--
-- Name: COLUMN open_orders.reserved_shares; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.open_orders.reserved_shares IS 'Shares that have left the position for a sell.';


--
-- Name: COLUMN open_orders.placed_at; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.open_orders.placed_at IS 'When it was placed.';


--
-- Name: order_book; Type: VIEW; Schema: exchange; Owner: exchange_owner
--

CREATE VIEW exchange.order_book AS
 SELECT symbols.sym,
    resting_orders.side,
    abs(resting_orders.price_rank) AS limit_price,
    resting_orders.open_shares,
    resting_orders.order_id,
    accounts.account_id
   FROM ((exchange.resting_orders
     JOIN exchange.symbols ON ((resting_orders.symbol_key = symbols.symbol_key)))
     JOIN exchange.accounts ON ((resting_orders.account_key = accounts.account_key)))
  ORDER BY symbols.sym, resting_orders.side, resting_orders.price_rank, resting_orders.order_id;


ALTER TABLE exchange.order_book OWNER TO exchange_owner;

--
-- Name: VIEW order_book; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON VIEW exchange.order_book IS 'Every open order, in the order in which it would be matched: best price first, then the earlier.';


--
-- Name: COLUMN order_book.sym; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.order_book.sym IS 'The symbol.';


--
-- Name: COLUMN order_book.side; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.order_book.side IS 'buy or sell.';


--
-- Name: COLUMN order_book.limit_price; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.order_book.limit_price IS 'The highest price to buy at, the lowest to sell at.';


--
-- Name: COLUMN order_book.open_shares; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.order_book.open_shares IS 'What is neither executed nor cancelled.';


--
-- Name: COLUMN order_book.order_id; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.order_book.order_id IS 'The order.';


--
-- Name: COLUMN order_book.account_id; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.order_book.account_id IS 'The account that placed it.';


--
-- Name: order_history; Type: VIEW; Schema: exchange; Owner: exchange_owner
--

CREATE VIEW exchange.order_history AS
 SELECT events.order_id,
    accounts.account_id,
    symbols.sym,
    events.side,
    events.at,
    events.event,
    trim_scale(events.shares) AS shares,
    trim_scale(events.price) AS price,
    trim_scale(sum(events.opened) OVER (PARTITION BY events.order_id ORDER BY events.place)) AS open_shares,
    events.other_order_id,
    events.execution_id
   FROM ((( SELECT orders.order_id,
            orders.account_key,
            orders.symbol_key,
            orders.side,
            orders.placed_at AS at,
            'placed'::text AS event,
            orders.shares,
            orders.limit_price AS price,
            orders.shares AS opened,
            0 AS place,
            NULL::bigint AS other_order_id,
            NULL::bigint AS execution_id
           FROM exchange.orders
        UNION ALL
         SELECT orders.order_id,
            orders.account_key,
            orders.symbol_key,
            orders.side,
            executions.executed_at AS at,
            'executed'::text AS event,
            executions.shares,
            executions.price,
            (- executions.shares) AS opened,
            executions.execution_id AS place,
            executions.sell_order_id AS other_order_id,
            executions.execution_id
           FROM (exchange.orders
             JOIN exchange.executions ON ((orders.order_id = executions.buy_order_id)))
        UNION ALL
         SELECT orders.order_id,
            orders.account_key,
            orders.symbol_key,
            orders.side,
            executions.executed_at AS at,
            'executed'::text AS event,
            executions.shares,
            executions.price,
            (- executions.shares) AS opened,
            executions.execution_id AS place,
            executions.buy_order_id AS other_order_id,
            executions.execution_id
           FROM (exchange.orders
             JOIN exchange.executions ON ((orders.order_id = executions.sell_order_id)))
        UNION ALL
         SELECT orders.order_id,
            orders.account_key,
            orders.symbol_key,
            orders.side,
            cancellations.canceled_at AS at,
            'canceled'::text AS event,
            cancellations.shares,
            NULL::numeric AS price,
            (- cancellations.shares) AS opened,
            '9223372036854775807'::bigint AS place,
            NULL::bigint AS other_order_id,
            NULL::bigint AS execution_id
           FROM (exchange.orders
             JOIN exchange.cancellations ON ((orders.order_id = cancellations.order_id)))) events
     JOIN exchange.accounts ON ((events.account_key = accounts.account_key)))
     JOIN exchange.symbols ON ((events.symbol_key = symbols.symbol_key)))
  ORDER BY events.order_id, events.place;


ALTER TABLE exchange.order_history OWNER TO exchange_owner;

--
-- Name: VIEW order_history; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON VIEW exchange.order_history IS 'The life of each order: placed, each execution, canceled. Ask for one: where order_id = 4.';


--
-- Name: COLUMN order_history.order_id; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.order_history.order_id IS 'The order.';


--
-- Name: COLUMN order_history.account_id; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.order_history.account_id IS 'The account that placed it.';


--
-- Name: COLUMN order_history.sym; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.order_history.sym IS 'The symbol.';


--
-- Name: COLUMN order_history.side; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.order_history.side IS 'buy or sell.';


--
-- Name: COLUMN order_history.at; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.order_history.at IS 'When it happened.';


--
-- Name: COLUMN order_history.event; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.order_history.event IS 'placed, executed or canceled.';


--
-- Name: COLUMN order_history.shares; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.order_history.shares IS 'Shares placed, executed or canceled.';


--
-- Name: COLUMN order_history.price; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.order_history.price IS 'placed: the limit. executed: the price of one share.';


--
-- Name: COLUMN order_history.open_shares; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.order_history.open_shares IS 'What was still open afterwards.';


--
-- Name: COLUMN order_history.other_order_id; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.order_history.other_order_id IS 'executed: the order that it traded with.';


--
-- Name: COLUMN order_history.execution_id; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.order_history.execution_id IS 'executed: the fill, in executions and tape.';


--
-- Name: order_ids; Type: SEQUENCE; Schema: exchange; Owner: exchange_owner
--

CREATE SEQUENCE exchange.order_ids
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;


ALTER TABLE exchange.order_ids OWNER TO exchange_owner;

--
-- Name: SEQUENCE order_ids; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON SEQUENCE exchange.order_ids IS 'Gives each accepted order its id. Within a symbol, earlier orders have smaller ids.';


--
-- Name: orders_1; Type: TABLE; Schema: exchange; Owner: exchange_owner
--

CREATE TABLE exchange.orders_1 (
    order_id bigint NOT NULL,
    account_key integer NOT NULL,
    symbol_key integer NOT NULL,
    side exchange.side NOT NULL,
    shares numeric NOT NULL,
    limit_price numeric NOT NULL,
    placed_at timestamp with time zone NOT NULL,
    CONSTRAINT orders_limit_price_positive CHECK (((limit_price > (0)::numeric) AND (limit_price < 'Infinity'::numeric))),
    CONSTRAINT orders_shares_positive CHECK (((shares > (0)::numeric) AND (shares < 'Infinity'::numeric)))
);


ALTER TABLE exchange.orders_1 OWNER TO exchange_owner;

--
-- Name: TABLE orders_1; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON TABLE exchange.orders_1 IS 'Part of orders, which has the comments.';


--
-- Name: quotes_quote_id_seq; Type: SEQUENCE; Schema: exchange; Owner: exchange_owner
--

ALTER TABLE exchange.quotes ALTER COLUMN quote_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME exchange.quotes_quote_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: relation_bloat; Type: VIEW; Schema: exchange; Owner: exchange_owner
--

CREATE VIEW exchange.relation_bloat AS
 SELECT measured.relation,
    measured.kind,
    pg_size_pretty(measured.bytes) AS size,
    measured.rows_estimated,
    measured.dead_rows,
    pg_size_pretty(GREATEST((measured.bytes - measured.bytes_needed), (0)::bigint)) AS bloat,
    round(((100.0 * (GREATEST((measured.bytes - measured.bytes_needed), (0)::bigint))::numeric) / (NULLIF(measured.bytes, 0))::numeric)) AS bloat_percent,
    measured.hot_percent,
    measured.last_vacuum,
    measured.vacuums
   FROM ( SELECT relation.relname AS relation,
                CASE relation.relkind
                    WHEN 'i'::"char" THEN 'index'::text
                    ELSE 'table'::text
                END AS kind,
            pg_relation_size((relation.oid)::regclass) AS bytes,
            (GREATEST(relation.reltuples, (0)::real))::bigint AS rows_estimated,
                CASE
                    WHEN (relation.relkind = 'r'::"char") THEN activity.n_dead_tup
                    ELSE NULL::bigint
                END AS dead_rows,
            (8192 * (((((relation.relkind = 'i'::"char"))::integer)::double precision + ceil(((GREATEST(relation.reltuples, (0)::real) * width.bytes) / (((((8168 - (16 * ((relation.relkind = 'i'::"char"))::integer)) * COALESCE(filled.factor,
                CASE relation.relkind
                    WHEN 'i'::"char" THEN 90
                    ELSE 100
                END)))::numeric / 100.0))::double precision))))::bigint) AS bytes_needed,
                CASE
                    WHEN (relation.relkind = 'r'::"char") THEN round(((100.0 * (activity.n_tup_hot_upd)::numeric) / (NULLIF(activity.n_tup_upd, 0))::numeric))
                    ELSE NULL::numeric
                END AS hot_percent,
                CASE
                    WHEN (relation.relkind = 'r'::"char") THEN GREATEST(activity.last_vacuum, activity.last_autovacuum)
                    ELSE NULL::timestamp with time zone
                END AS last_vacuum,
                CASE
                    WHEN (relation.relkind = 'r'::"char") THEN (activity.vacuum_count + activity.autovacuum_count)
                    ELSE NULL::bigint
                END AS vacuums
           FROM ((((pg_class relation
             LEFT JOIN pg_index ON ((relation.oid = pg_index.indexrelid)))
             JOIN pg_stat_user_tables activity ON ((COALESCE(pg_index.indrelid, relation.oid) = activity.relid)))
             LEFT JOIN LATERAL ( SELECT (option.option_value)::integer AS factor
                   FROM pg_options_to_table(relation.reloptions) option(option_name, option_value)
                  WHERE (option.option_name = 'fillfactor'::text)) filled ON (true))
             LEFT JOIN LATERAL ( SELECT ((4)::double precision + ((8)::double precision * ceil((((
                        CASE relation.relkind
                            WHEN 'i'::"char" THEN 8
                            ELSE 24
                        END)::double precision + sum(((pg_stats.avg_width)::double precision * ((1)::double precision - pg_stats.null_frac)))) / (8)::double precision)))) AS bytes
                   FROM (pg_attribute
                     JOIN pg_stats ON (((activity.schemaname = pg_stats.schemaname) AND (activity.relname = pg_stats.tablename) AND (pg_attribute.attname = pg_stats.attname))))
                  WHERE ((pg_attribute.attrelid = relation.oid) AND (pg_attribute.attnum > 0))) width ON (true))
          WHERE ((activity.schemaname = 'exchange'::name) AND (relation.relkind = ANY (ARRAY['r'::"char", 'i'::"char"])))) measured
  ORDER BY measured.bytes DESC, measured.relation;


ALTER TABLE exchange.relation_bloat OWNER TO exchange_owner;

--
-- Name: VIEW relation_bloat; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON VIEW exchange.relation_bloat IS 'Size of each table and index, and how much of it an empty copy of the same rows would not need: an estimate, from the statistics of the last analyze. Free space is normal where rows come and go; growth of it is not.';


--
-- Name: COLUMN relation_bloat.relation; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.relation_bloat.relation IS 'The table or index.';


--
-- Name: COLUMN relation_bloat.kind; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.relation_bloat.kind IS 'table or index.';


--
-- Name: COLUMN relation_bloat.size; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.relation_bloat.size IS 'Its size on disk.';


--
-- Name: COLUMN relation_bloat.rows_estimated; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.relation_bloat.rows_estimated IS 'Rows, as the last vacuum or analyze saw them.';


--
-- Name: COLUMN relation_bloat.dead_rows; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.relation_bloat.dead_rows IS 'Rows that wait for vacuum; only for tables.';


--
-- Name: COLUMN relation_bloat.bloat; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.relation_bloat.bloat IS 'Estimated bytes beyond what the rows need; null before the first analyze.';


--
-- Name: COLUMN relation_bloat.bloat_percent; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.relation_bloat.bloat_percent IS 'The same, as a part of the size.';


--
-- Name: COLUMN relation_bloat.hot_percent; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.relation_bloat.hot_percent IS 'Updates that touched no index (heap-only): the fillfactor is right where this is near 100.';


--
-- Name: COLUMN relation_bloat.last_vacuum; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.relation_bloat.last_vacuum IS 'When it was vacuumed last, by hand or by itself.';


--
-- Name: COLUMN relation_bloat.vacuums; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.relation_bloat.vacuums IS 'How often it was vacuumed since the statistics were reset.';


--
-- Name: symbol_locks; Type: VIEW; Schema: exchange; Owner: exchange_owner
--

CREATE VIEW exchange.symbol_locks AS
 SELECT symbols.sym,
    (hashtext(symbols.sym) & 255) AS slot,
    holder.pid AS holder_pid,
    holder.application_name AS holder,
    holder.state AS holder_state,
    holder.held_for,
    COALESCE(waiting.waiters, (0)::bigint) AS waiters,
    waiting.longest_wait,
    waiting.pids AS waiter_pids
   FROM ((exchange.symbols
     LEFT JOIN ( SELECT (pg_locks.objid)::bigint AS slot,
            pg_locks.pid,
            pg_stat_activity.application_name,
            pg_stat_activity.state,
            (clock_timestamp() - pg_stat_activity.xact_start) AS held_for
           FROM ((pg_locks
             JOIN pg_database ON ((pg_locks.database = pg_database.oid)))
             LEFT JOIN pg_stat_activity ON ((pg_locks.pid = pg_stat_activity.pid)))
          WHERE ((pg_locks.locktype = 'advisory'::text) AND (pg_locks.classid = (5000)::oid) AND (pg_locks.objsubid = 2) AND pg_locks.granted AND (pg_database.datname = current_database()))) holder ON (((hashtext(symbols.sym) & 255) = holder.slot)))
     LEFT JOIN ( SELECT (pg_locks.objid)::bigint AS slot,
            count(*) AS waiters,
            (clock_timestamp() - min(pg_locks.waitstart)) AS longest_wait,
            array_agg(pg_locks.pid ORDER BY pg_locks.waitstart) AS pids
           FROM (pg_locks
             JOIN pg_database ON ((pg_locks.database = pg_database.oid)))
          WHERE ((pg_locks.locktype = 'advisory'::text) AND (pg_locks.classid = (5000)::oid) AND (pg_locks.objsubid = 2) AND (NOT pg_locks.granted) AND (pg_database.datname = current_database()))
          GROUP BY ((pg_locks.objid)::bigint)) waiting ON (((hashtext(symbols.sym) & 255) = waiting.slot)))
  ORDER BY symbols.sym;


ALTER TABLE exchange.symbol_locks OWNER TO exchange_owner;

--
-- Name: VIEW symbol_locks; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON VIEW exchange.symbol_locks IS 'What the lock of each symbol is doing now: who holds it and who waits. Only the holder matches orders of the symbol; symbols of one slot share a lock.';


--
-- Name: COLUMN symbol_locks.sym; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.symbol_locks.sym IS 'The symbol.';


--
-- Name: COLUMN symbol_locks.slot; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.symbol_locks.slot IS 'Its slot: objid of the advisory lock in pg_locks, with classid 5000.';


--
-- Name: COLUMN symbol_locks.holder_pid; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.symbol_locks.holder_pid IS 'The backend that holds it; null where it is free.';


--
-- Name: COLUMN symbol_locks.holder; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.symbol_locks.holder IS 'The holder''s application name. Like the next two null without the rights of pg_read_all_stats.';


--
-- Name: COLUMN symbol_locks.holder_state; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.symbol_locks.holder_state IS 'active: its batch is being carried out. idle in transaction: somebody left a transaction open, and the market waits.';


--
-- Name: COLUMN symbol_locks.held_for; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.symbol_locks.held_for IS 'Since the holder''s transaction began; it has held the lock no longer than that.';


--
-- Name: COLUMN symbol_locks.waiters; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.symbol_locks.waiters IS 'How many backends wait for it.';


--
-- Name: COLUMN symbol_locks.longest_wait; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.symbol_locks.longest_wait IS 'For how long the first of them has waited.';


--
-- Name: COLUMN symbol_locks.waiter_pids; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.symbol_locks.waiter_pids IS 'The backends that wait, the longest first.';


--
-- Name: symbols_symbol_key_seq; Type: SEQUENCE; Schema: exchange; Owner: exchange_owner
--

ALTER TABLE exchange.symbols ALTER COLUMN symbol_key ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME exchange.symbols_symbol_key_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: tape; Type: VIEW; Schema: exchange; Owner: exchange_owner
--

CREATE VIEW exchange.tape AS
 SELECT executions.execution_id,
    executions.executed_at,
    symbols.sym,
    trim_scale(executions.shares) AS shares,
    trim_scale(executions.price) AS price,
    trim_scale((executions.shares * executions.price)) AS value,
    (
        CASE
            WHEN (executions.buy_order_id > executions.sell_order_id) THEN 'buy'::text
            ELSE 'sell'::text
        END)::exchange.side AS taker_side,
    executions.buy_order_id,
    executions.sell_order_id
   FROM (exchange.executions
     JOIN exchange.symbols ON ((executions.symbol_key = symbols.symbol_key)));


ALTER TABLE exchange.tape OWNER TO exchange_owner;

--
-- Name: VIEW tape; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON VIEW exchange.tape IS 'Every fill. The newest first: order by execution_id desc limit 20.';


--
-- Name: COLUMN tape.execution_id; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.tape.execution_id IS 'Ascends, within a symbol, in the order of execution.';


--
-- Name: COLUMN tape.executed_at; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.tape.executed_at IS 'When.';


--
-- Name: COLUMN tape.sym; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.tape.sym IS 'The symbol.';


--
-- Name: COLUMN tape.shares; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.tape.shares IS 'How many shares changed hands.';


--
-- Name: COLUMN tape.price; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.tape.price IS 'Price of one share: the limit of the order that was open first.';


--
-- Name: COLUMN tape.value; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.tape.value IS 'Shares times price: what the seller got.';


--
-- Name: COLUMN tape.taker_side; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.tape.taker_side IS 'The side of the order that came later and so set off the trade.';


--
-- Name: COLUMN tape.buy_order_id; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.tape.buy_order_id IS 'The order that bought.';


--
-- Name: COLUMN tape.sell_order_id; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.tape.sell_order_id IS 'The order that sold.';


--
-- Name: unsettled_credits; Type: VIEW; Schema: exchange; Owner: exchange_owner
--

CREATE VIEW exchange.unsettled_credits AS
 SELECT accounts.account_id,
    symbols.sym,
    owed.credits,
    trim_scale(owed.amount) AS amount
   FROM ((( SELECT credits.account_key,
            credits.symbol_key,
            count(*) AS credits,
            sum(credits.amount) AS amount
           FROM exchange.credits
          GROUP BY credits.account_key, credits.symbol_key) owed
     JOIN exchange.accounts ON ((owed.account_key = accounts.account_key)))
     LEFT JOIN exchange.symbols ON ((owed.symbol_key = symbols.symbol_key)))
  ORDER BY owed.credits DESC, accounts.account_id, symbols.sym;


ALTER TABLE exchange.unsettled_credits OWNER TO exchange_owner;

--
-- Name: VIEW unsettled_credits; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON VIEW exchange.unsettled_credits IS 'What accounts are owed and has not been folded into their rows yet, most rows first. Should stay small: a sweep (settle_idle_accounts, called by each gateway) folds what idle accounts are owed.';


--
-- Name: COLUMN unsettled_credits.account_id; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.unsettled_credits.account_id IS 'The account.';


--
-- Name: COLUMN unsettled_credits.sym; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.unsettled_credits.sym IS 'The symbol of the shares; null where it is money.';


--
-- Name: COLUMN unsettled_credits.credits; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.unsettled_credits.credits IS 'How many rows of credits.';


--
-- Name: COLUMN unsettled_credits.amount; Type: COMMENT; Schema: exchange; Owner: exchange_owner
--

COMMENT ON COLUMN exchange.unsettled_credits.amount IS 'Their sum.';


--
-- Name: executions_1; Type: TABLE ATTACH; Schema: exchange; Owner: exchange_owner
--

ALTER TABLE ONLY exchange.executions ATTACH PARTITION exchange.executions_1 FOR VALUES FROM (MINVALUE) TO (MAXVALUE);


--
-- Name: orders_1; Type: TABLE ATTACH; Schema: exchange; Owner: exchange_owner
--

ALTER TABLE ONLY exchange.orders ATTACH PARTITION exchange.orders_1 FOR VALUES FROM (MINVALUE) TO (MAXVALUE);


--
-- Name: executions execution_id; Type: DEFAULT; Schema: exchange; Owner: exchange_owner
--

ALTER TABLE ONLY exchange.executions ALTER COLUMN execution_id SET DEFAULT nextval('exchange.execution_ids'::regclass);


--
-- Data for Name: accounts; Type: TABLE DATA; Schema: exchange; Owner: exchange_owner
--

COPY exchange.accounts (account_key, account_id, cash, settled_before, created_at, frozen_at) FROM stdin;
1	1	1000.5	0	2026-11-23 02:40:56.118474+00	\N
2	2	800.5	779	2026-11-23 02:40:56.123191+00	\N
3	3	960.5	782	2026-11-23 02:40:56.123844+00	\N
\.


--
-- Data for Name: applied_files; Type: TABLE DATA; Schema: exchange; Owner: exchange_owner
--

COPY exchange.applied_files (applied_file_id, kind, name, checksum, functions, pgbourse_version, applied_by, applied_at) FROM stdin;
1	migration	0001_roles_and_schema	b441ce2d0b76e6b6a586a8ced7c1edba416199fd891288098574b5e71c605715	{}	0.1.0	postgres	2026-11-23 02:40:56.001341+00
2	migration	0002_tables	698f3ba57c76b7f16093f7b1d843f24cfa3c199256d605d7dfb19b1c23f4187f	{}	0.1.0	postgres	2026-11-23 02:40:56.006127+00
3	migration	0003_views	d3c4ce6a231839e7a665cfa577fc554225d167152f8fa6ca49063561bf821bea	{}	0.1.0	postgres	2026-11-23 02:40:56.054312+00
4	migration	0004_dba_views	3f2220e7995f29152b10a4776013352340fdbb8ce65a61db6c1ebed4036f240c	{}	0.1.0	postgres	2026-11-23 02:40:56.057249+00
7	function	cancel_orders	eede69755f7b6a3e64898ed379a1b6761163d407fb2f5ad46698586aeb4f5e6e	{"exchange.cancel_orders(integer[],text[],bigint[],integer[])": "fd10621fb1614ef00e9627285bc74260"}	0.1.0	postgres	2026-11-23 02:40:56.071239+00
8	function	check_book	ec5cf4bfd68cdcfbbe805f56ddba52ee809ba94cbccc49dc7cf009dac7f6114d	{"exchange.check_book()": "dd4a7467cc69ff9b39f4caf39920d612"}	0.1.0	postgres	2026-11-23 02:40:56.073117+00
9	function	check_conservation	ec2639cf2109051ec4bca3cb92e888c1ecfeac3195c2fe5ca064b7911f4681a4	{"exchange.check_conservation()": "da00b90dd15d0bd435b74f3441029a6a"}	0.1.0	postgres	2026-11-23 02:40:56.074622+00
10	function	check_executions	0327b71639fb11af9376838d1f1449254de49a9e74660544981a100e77fee080	{"exchange.check_executions()": "64de714acd9351e5470eed589ef53ca4"}	0.1.0	postgres	2026-11-23 02:40:56.076129+00
12	function	check_keys	2307cf4e8768fc27869c44d06eb3ae3848b9d2ff07c19227f4d4cee24bfd9256	{"exchange.check_keys()": "323699af5d31634ba0047b1fc5963856"}	0.1.0	postgres	2026-11-23 02:40:56.077965+00
13	function	check_orders	d3734afb824ce9db47fa8a3f8314ff988e456f2ca9d74c01c2583a4ad04bfa5b	{"exchange.check_orders()": "adac43bf8fa86cf1204ab886c16e6d56"}	0.1.0	postgres	2026-11-23 02:40:56.079249+00
14	function	check_priority	8a36d5fde06c55050d6a345c2f8dab5a1854492fb2d9d1e29e3840d2f1d7642a	{"exchange.check_priority()": "0c1f3a55467152bccafafd0bc4f20b8c"}	0.1.0	postgres	2026-11-23 02:40:56.080559+00
15	function	collect_credits	95f65dd07a8fce854ddfa593f31f000c6e5e06415062dc99e6732a99e7318eef	{"exchange.collect_credits(integer[],xid8[],bigint[])": "77707b71828938d48d645dc4b95bdbe3"}	0.1.0	postgres	2026-11-23 02:40:56.081938+00
16	function	count_open	dc904e93d5c977d4ee937c658987dba51b493993e0c68ec1fc69951fb8b51e2c	{"exchange.count_open()": "c79906d773121fc1048ee5cf79d0b942"}	0.1.0	postgres	2026-11-23 02:40:56.083132+00
17	function	create_account	4e7eff47f18b6131f7fc7a8248ee14cbfbe181e6d2863425428a2bbc206ac4fd	{"exchange.create_account(text,numeric)": "fb41634509df8685b73085cbfa87eb17"}	0.1.0	postgres	2026-11-23 02:40:56.084306+00
18	function	create_all	1b0e4f064479f31857d79e23da43b50ffcacd73f92335a73ae9e9dad80da89af	{"exchange.create_all(integer[],text[],text[],text[],numeric[])": "a460945a5991cfac9557cb81213fde61"}	0.1.0	postgres	2026-11-23 02:40:56.085723+00
19	function	create_symbol	4a524a4a61440fde656b7a9957404357d7d3c1ef16cd1d3d54e1d3dc4e4b9bf2	{"exchange.create_symbol(text)": "09c2d171c9cceb75509db30a657d1a12"}	0.1.0	postgres	2026-11-23 02:40:56.086725+00
20	function	freeze_account	02872f2f332323c3c5e906f28fff88202317e010b61513aab3b7d7a29ce0ba4d	{"exchange.freeze_account(text)": "076bf8d4627cbe81d781b05b77c902d0"}	0.1.0	postgres	2026-11-23 02:40:56.087741+00
21	function	grant_shares	248707eb5d8737f31799fc684e292d0f1c9690ff80b711da2e306ef23f50a7fa	{"exchange.grant_shares(text,text,numeric)": "15b3abedbe4fe5dc6c96a754d9a8ac83"}	0.1.0	postgres	2026-11-23 02:40:56.088638+00
22	function	halt_symbol	789391d9fd3c1cb50b6d701f679749443c86922770e5affed6f6c141bddc5f83	{"exchange.halt_symbol(text)": "37fcc03e3b8cbff2b6ffc4d2055a8424"}	0.1.0	postgres	2026-11-23 02:40:56.089643+00
23	function	is_number	e7de1133f876c3fa9f9418554f81f8177e084f9f0fd02d0348cf814b897ac23d	{"exchange.is_number(numeric)": "3898f75ff213cfa15ab602b2709c38b3"}	0.1.0	postgres	2026-11-23 02:40:56.09054+00
24	function	list_applied_files	4334e1be1c40e154f21fa82e61d9eceacce5dfa1a0cc4b26fdec9a227c0c4a60	{"exchange.list_applied_files()": "3e64e146bf0743184e67007511f410b5"}	0.1.0	postgres	2026-11-23 02:40:56.091472+00
25	function	lock_batch	b32166c92ea8c6b54b52a0a0c1095472b68857130cb8fe0e087fd30e1eb19f2f	{"exchange.lock_batch(text[],text[],text[],bigint[])": "0030fc5231e9f00bc98e5e60650d250f"}	0.1.0	postgres	2026-11-23 02:40:56.092406+00
26	function	place_order	0e7ca42c5eabc91065b219d0c1586d7d483563897144e06a40659ac748828553	{"exchange.place_order(text,text,numeric,numeric)": "8c5006db8e2dd2dd4f98010a4114306f"}	0.1.0	postgres	2026-11-23 02:40:56.093475+00
27	function	place_orders	10bc638a2b591c3a550f763b8a97d43a1cfaff4d6f992b1c2662700ee80ef739	{"exchange.place_orders(integer[],text[],text[],numeric[],numeric[],integer)": "82f4059126bd2569e58b90b949a6d469"}	0.1.0	postgres	2026-11-23 02:40:56.094418+00
28	function	process_batch	3c21492f9cd36abf86e8d5725cce5b1c90efd3361e1c1df571c9a61aec1a81f8	{"exchange.process_batch(integer[],text[],text[],text[],numeric[],numeric[],bigint[])": "f8512e9bad8e73a7b37b0c41d5d8ab3e"}	0.1.0	postgres	2026-11-23 02:40:56.097244+00
29	function	process_phases	145af54b9ce01fa0a9afd97248dde4755990040d65296caaee2253fe85706f31	{"exchange.process_phases(integer[],text[],text[],text[],numeric[],numeric[],bigint[],integer[],integer)": "961fedce8559e80949d3d559a68bb63a"}	0.1.0	postgres	2026-11-23 02:40:56.098349+00
30	function	query_order	209c7680559de74a922c85d422cd66eb9f253ca8fcbe72cb53a11291a83a4f41	{"exchange.query_order(text,bigint)": "db4ace225a9edb7267063459ee3a8447"}	0.1.0	postgres	2026-11-23 02:40:56.099382+00
31	function	query_orders	bf29f7924ba3f2ade647e2f7695548a64f3ef431c66384ffc5b724162c8d8a13	{"exchange.query_orders(integer[],text[],bigint[])": "10a74f4d834615e0032edeb9edb953b9"}	0.1.0	postgres	2026-11-23 02:40:56.100357+00
32	function	quote	2dd51dd2bbd4cf34b02017d540212966c89ca4b0cad8c64af8c26bd1ddbf2edf	{"exchange.quote(integer[],exchange.side[],numeric[],bigint[],timestamp with time zone)": "e367e6271ee4457d876adb742f3938eb"}	0.1.0	postgres	2026-11-23 02:40:56.101419+00
33	function	refusal	38e14df884e64a8f0939ffb01d6a89821c2e0c839397842546bb0401a0e4e764	{"exchange.refusal(text,text,text,numeric,numeric)": "cd65b4d2b07c6c28a28c312d6c844a55"}	0.1.0	postgres	2026-11-23 02:40:56.102373+00
34	function	resume_symbol	915ce1a73103d314801cf792fcdb3b119811060328adc5de4d26d2a153c8a3ea	{"exchange.resume_symbol(text)": "2725a0c862c2cc05b874d5aa0899dcb7"}	0.1.0	postgres	2026-11-23 02:40:56.103603+00
35	function	settle_account	82dcf2bad9259cfae0cff6d208ef930b449c1b0c0e8f81202e90569f4dbf26f6	{"exchange.settle_account(text)": "6a7a8d12e29dce7441015b130733d1d3"}	0.1.0	postgres	2026-11-23 02:40:56.104474+00
36	function	settle_accounts	db1a372c704ee761df3f683b29f5179a71b82152e1d160ddf40a7a4d151e17d7	{"exchange.settle_accounts(integer[])": "b384446488c3bb783ecdc3c8f872802e"}	0.1.0	postgres	2026-11-23 02:40:56.105389+00
37	function	settle_idle_accounts	bd31bd950ff725e430186204af1897dd0c439812c0b08c8df84de4c6f5cf72eb	{"exchange.settle_idle_accounts(integer)": "2d5058af3c2b78be8a16a752c33670ad"}	0.1.0	postgres	2026-11-23 02:40:56.106345+00
38	function	symbol_slot	3f5c6f0d3f68699b278194a6b6d04bd08b1092951bae3511f41874434d42283b	{"exchange.symbol_slot(text)": "2642cf2bdad5a841699afad97bf87fd5"}	0.1.0	postgres	2026-11-23 02:40:56.107223+00
39	function	unfreeze_account	476485d35fb0b886ca3ac00a83d3f862cdf2f622086892de5a6dbaad62c147ff	{"exchange.unfreeze_account(text)": "49d1411b7c712b7197654c5fcfdcc856"}	0.1.0	postgres	2026-11-23 02:40:56.108191+00
40	function	cancel_open_orders	ed6f60730fb5fa0c91568b7ca978d10274eace436f209530f05ca61ceab9d5da	{"exchange.cancel_open_orders(text)": "2c89aaa474f74237ed3a9307a52a7905"}	0.1.0	postgres	2026-11-23 02:40:56.109809+00
41	function	cancel_order	aa8b6f3929162fa387c554d8e455330020d64dcc57c216ab209232cfaa6b37ba	{"exchange.cancel_order(text,bigint)": "ee1776916246887bd2b3fe7e7bd8ce28"}	0.1.0	postgres	2026-11-23 02:40:56.110764+00
42	function	check_integrity	d9d8e1c2ad7e3dcccb1e9a56624f013d3f71138551069adfca9eb1d1a8fabdfa	{"exchange.check_integrity()": "3fa00827b1fa3ffcc7954847a809970a"}	0.1.0	postgres	2026-11-23 02:40:56.111684+00
\.


--
-- Data for Name: cancellations; Type: TABLE DATA; Schema: exchange; Owner: exchange_owner
--

COPY exchange.cancellations (order_id, shares, canceled_at) FROM stdin;
3	40	2026-11-23 02:40:56.136088+00
\.


--
-- Data for Name: credits; Type: TABLE DATA; Schema: exchange; Owner: exchange_owner
--

COPY exchange.credits (account_key, transaction_id, credit_id, symbol_key, amount) FROM stdin;
1	779	4	\N	200
\.


--
-- Data for Name: deposits; Type: TABLE DATA; Schema: exchange; Owner: exchange_owner
--

COPY exchange.deposits (deposit_id, account_key, symbol_key, amount, deposited_at) FROM stdin;
1	1	\N	1000.5	2026-11-23 02:40:56.118474+00
2	1	1	100	2026-11-23 02:40:56.122807+00
3	2	\N	1000.5	2026-11-23 02:40:56.123191+00
4	2	1	100	2026-11-23 02:40:56.123653+00
5	3	\N	1000.5	2026-11-23 02:40:56.123844+00
6	3	1	100	2026-11-23 02:40:56.124196+00
\.


--
-- Data for Name: executions_1; Type: TABLE DATA; Schema: exchange; Owner: exchange_owner
--

COPY exchange.executions_1 (execution_id, symbol_key, buy_order_id, sell_order_id, shares, price, buy_limit, sell_limit, executed_at) FROM stdin;
1	1	2	1	20	10	11	10	2026-11-23 02:40:56.132752+00
\.


--
-- Data for Name: orders_1; Type: TABLE DATA; Schema: exchange; Owner: exchange_owner
--

COPY exchange.orders_1 (order_id, account_key, symbol_key, side, shares, limit_price, placed_at) FROM stdin;
1	1	1	sell	50	10	2026-11-23 02:40:56.126925+00
2	2	1	buy	20	11	2026-11-23 02:40:56.132752+00
3	3	1	buy	40	9	2026-11-23 02:40:56.134536+00
4	3	1	buy	5	8	2026-11-23 02:40:56.139089+00
\.


--
-- Data for Name: positions; Type: TABLE DATA; Schema: exchange; Owner: exchange_owner
--

COPY exchange.positions (account_key, symbol_key, shares) FROM stdin;
1	1	50
2	1	120
3	1	100
\.


--
-- Data for Name: quotes; Type: TABLE DATA; Schema: exchange; Owner: exchange_owner
--

COPY exchange.quotes (symbol_key, side, quote_id, price_rank, order_id, quoted_at) FROM stdin;
1	sell	1	10	1	2026-11-23 02:40:56.126925+00
1	buy	2	-9	3	2026-11-23 02:40:56.134536+00
1	buy	3	Infinity	0	2026-11-23 02:40:56.136088+00
1	buy	4	-8	4	2026-11-23 02:40:56.139089+00
\.


--
-- Data for Name: resting_orders; Type: TABLE DATA; Schema: exchange; Owner: exchange_owner
--

COPY exchange.resting_orders (symbol_key, side, price_rank, order_id, account_key, open_shares) FROM stdin;
1	sell	10	1	1	30
1	buy	-8	4	3	5
\.


--
-- Data for Name: symbols; Type: TABLE DATA; Schema: exchange; Owner: exchange_owner
--

COPY exchange.symbols (symbol_key, sym, created_at, halted_at) FROM stdin;
1	X	2026-11-23 02:40:56.122327+00	\N
\.


--
-- Name: accounts_account_key_seq; Type: SEQUENCE SET; Schema: exchange; Owner: exchange_owner
--

SELECT pg_catalog.setval('exchange.accounts_account_key_seq', 3, true);


--
-- Name: applied_files_applied_file_id_seq; Type: SEQUENCE SET; Schema: exchange; Owner: exchange_owner
--

SELECT pg_catalog.setval('exchange.applied_files_applied_file_id_seq', 42, true);


--
-- Name: credits_credit_id_seq; Type: SEQUENCE SET; Schema: exchange; Owner: exchange_owner
--

SELECT pg_catalog.setval('exchange.credits_credit_id_seq', 5, true);


--
-- Name: deposits_deposit_id_seq; Type: SEQUENCE SET; Schema: exchange; Owner: exchange_owner
--

SELECT pg_catalog.setval('exchange.deposits_deposit_id_seq', 6, true);


--
-- Name: execution_ids; Type: SEQUENCE SET; Schema: exchange; Owner: exchange_owner
--

SELECT pg_catalog.setval('exchange.execution_ids', 1, true);


--
-- Name: order_ids; Type: SEQUENCE SET; Schema: exchange; Owner: exchange_owner
--

SELECT pg_catalog.setval('exchange.order_ids', 4, true);


--
-- Name: quotes_quote_id_seq; Type: SEQUENCE SET; Schema: exchange; Owner: exchange_owner
--

SELECT pg_catalog.setval('exchange.quotes_quote_id_seq', 4, true);


--
-- Name: symbols_symbol_key_seq; Type: SEQUENCE SET; Schema: exchange; Owner: exchange_owner
--

SELECT pg_catalog.setval('exchange.symbols_symbol_key_seq', 1, true);


--
-- Name: accounts accounts_account_id_key; Type: CONSTRAINT; Schema: exchange; Owner: exchange_owner
--

ALTER TABLE ONLY exchange.accounts
    ADD CONSTRAINT accounts_account_id_key UNIQUE (account_id);


--
-- Name: accounts accounts_pkey; Type: CONSTRAINT; Schema: exchange; Owner: exchange_owner
--

ALTER TABLE ONLY exchange.accounts
    ADD CONSTRAINT accounts_pkey PRIMARY KEY (account_key);


--
-- Name: applied_files applied_files_pkey; Type: CONSTRAINT; Schema: exchange; Owner: exchange_owner
--

ALTER TABLE ONLY exchange.applied_files
    ADD CONSTRAINT applied_files_pkey PRIMARY KEY (applied_file_id);


--
-- Name: cancellations cancellations_pkey; Type: CONSTRAINT; Schema: exchange; Owner: exchange_owner
--

ALTER TABLE ONLY exchange.cancellations
    ADD CONSTRAINT cancellations_pkey PRIMARY KEY (order_id);


--
-- Name: credits credits_pkey; Type: CONSTRAINT; Schema: exchange; Owner: exchange_owner
--

ALTER TABLE ONLY exchange.credits
    ADD CONSTRAINT credits_pkey PRIMARY KEY (account_key, transaction_id, credit_id);


--
-- Name: deposits deposits_pkey; Type: CONSTRAINT; Schema: exchange; Owner: exchange_owner
--

ALTER TABLE ONLY exchange.deposits
    ADD CONSTRAINT deposits_pkey PRIMARY KEY (deposit_id);


--
-- Name: executions executions_pkey; Type: CONSTRAINT; Schema: exchange; Owner: exchange_owner
--

ALTER TABLE ONLY exchange.executions
    ADD CONSTRAINT executions_pkey PRIMARY KEY (execution_id);


--
-- Name: executions_1 executions_1_pkey; Type: CONSTRAINT; Schema: exchange; Owner: exchange_owner
--

ALTER TABLE ONLY exchange.executions_1
    ADD CONSTRAINT executions_1_pkey PRIMARY KEY (execution_id);


--
-- Name: orders orders_pkey; Type: CONSTRAINT; Schema: exchange; Owner: exchange_owner
--

ALTER TABLE ONLY exchange.orders
    ADD CONSTRAINT orders_pkey PRIMARY KEY (order_id);


--
-- Name: orders_1 orders_1_pkey; Type: CONSTRAINT; Schema: exchange; Owner: exchange_owner
--

ALTER TABLE ONLY exchange.orders_1
    ADD CONSTRAINT orders_1_pkey PRIMARY KEY (order_id);


--
-- Name: positions positions_pkey; Type: CONSTRAINT; Schema: exchange; Owner: exchange_owner
--

ALTER TABLE ONLY exchange.positions
    ADD CONSTRAINT positions_pkey PRIMARY KEY (account_key, symbol_key);


--
-- Name: quotes quotes_pkey; Type: CONSTRAINT; Schema: exchange; Owner: exchange_owner
--

ALTER TABLE ONLY exchange.quotes
    ADD CONSTRAINT quotes_pkey PRIMARY KEY (symbol_key, side, quote_id);


--
-- Name: resting_orders resting_orders_pkey; Type: CONSTRAINT; Schema: exchange; Owner: exchange_owner
--

ALTER TABLE ONLY exchange.resting_orders
    ADD CONSTRAINT resting_orders_pkey PRIMARY KEY (symbol_key, side, price_rank, order_id);


--
-- Name: symbols symbols_pkey; Type: CONSTRAINT; Schema: exchange; Owner: exchange_owner
--

ALTER TABLE ONLY exchange.symbols
    ADD CONSTRAINT symbols_pkey PRIMARY KEY (symbol_key);


--
-- Name: symbols symbols_sym_key; Type: CONSTRAINT; Schema: exchange; Owner: exchange_owner
--

ALTER TABLE ONLY exchange.symbols
    ADD CONSTRAINT symbols_sym_key UNIQUE (sym);


--
-- Name: applied_files_migration_once; Type: INDEX; Schema: exchange; Owner: exchange_owner
--

CREATE UNIQUE INDEX applied_files_migration_once ON exchange.applied_files USING btree (name) WHERE (kind = 'migration'::text);


--
-- Name: deposits_account_key_idx; Type: INDEX; Schema: exchange; Owner: exchange_owner
--

CREATE INDEX deposits_account_key_idx ON exchange.deposits USING btree (account_key);


--
-- Name: executions_buy_order_id_idx; Type: INDEX; Schema: exchange; Owner: exchange_owner
--

CREATE INDEX executions_buy_order_id_idx ON ONLY exchange.executions USING btree (buy_order_id);


--
-- Name: executions_1_buy_order_id_idx; Type: INDEX; Schema: exchange; Owner: exchange_owner
--

CREATE INDEX executions_1_buy_order_id_idx ON exchange.executions_1 USING btree (buy_order_id);


--
-- Name: executions_sell_order_id_idx; Type: INDEX; Schema: exchange; Owner: exchange_owner
--

CREATE INDEX executions_sell_order_id_idx ON ONLY exchange.executions USING btree (sell_order_id);


--
-- Name: executions_1_sell_order_id_idx; Type: INDEX; Schema: exchange; Owner: exchange_owner
--

CREATE INDEX executions_1_sell_order_id_idx ON exchange.executions_1 USING btree (sell_order_id);


--
-- Name: executions_1_buy_order_id_idx; Type: INDEX ATTACH; Schema: exchange; Owner: exchange_owner
--

ALTER INDEX exchange.executions_buy_order_id_idx ATTACH PARTITION exchange.executions_1_buy_order_id_idx;


--
-- Name: executions_1_pkey; Type: INDEX ATTACH; Schema: exchange; Owner: exchange_owner
--

ALTER INDEX exchange.executions_pkey ATTACH PARTITION exchange.executions_1_pkey;


--
-- Name: executions_1_sell_order_id_idx; Type: INDEX ATTACH; Schema: exchange; Owner: exchange_owner
--

ALTER INDEX exchange.executions_sell_order_id_idx ATTACH PARTITION exchange.executions_1_sell_order_id_idx;


--
-- Name: orders_1_pkey; Type: INDEX ATTACH; Schema: exchange; Owner: exchange_owner
--

ALTER INDEX exchange.orders_pkey ATTACH PARTITION exchange.orders_1_pkey;


--
-- Name: SCHEMA exchange; Type: ACL; Schema: -; Owner: exchange_owner
--

GRANT USAGE ON SCHEMA exchange TO exchange_gateway;
GRANT USAGE ON SCHEMA exchange TO exchange_reader;


--
-- Name: FUNCTION cancel_open_orders(p_account_id text); Type: ACL; Schema: exchange; Owner: exchange_owner
--

REVOKE ALL ON FUNCTION exchange.cancel_open_orders(p_account_id text) FROM PUBLIC;


--
-- Name: FUNCTION cancel_order(p_account_id text, p_order_id bigint); Type: ACL; Schema: exchange; Owner: exchange_owner
--

REVOKE ALL ON FUNCTION exchange.cancel_order(p_account_id text, p_order_id bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION exchange.cancel_order(p_account_id text, p_order_id bigint) TO exchange_gateway;


--
-- Name: FUNCTION cancel_orders(p_requests integer[], p_account_ids text[], p_order_ids bigint[], p_symbol_slots integer[]); Type: ACL; Schema: exchange; Owner: exchange_owner
--

REVOKE ALL ON FUNCTION exchange.cancel_orders(p_requests integer[], p_account_ids text[], p_order_ids bigint[], p_symbol_slots integer[]) FROM PUBLIC;


--
-- Name: FUNCTION check_book(); Type: ACL; Schema: exchange; Owner: exchange_owner
--

REVOKE ALL ON FUNCTION exchange.check_book() FROM PUBLIC;
GRANT ALL ON FUNCTION exchange.check_book() TO exchange_reader;


--
-- Name: FUNCTION check_conservation(); Type: ACL; Schema: exchange; Owner: exchange_owner
--

REVOKE ALL ON FUNCTION exchange.check_conservation() FROM PUBLIC;
GRANT ALL ON FUNCTION exchange.check_conservation() TO exchange_reader;


--
-- Name: FUNCTION check_executions(); Type: ACL; Schema: exchange; Owner: exchange_owner
--

REVOKE ALL ON FUNCTION exchange.check_executions() FROM PUBLIC;
GRANT ALL ON FUNCTION exchange.check_executions() TO exchange_reader;


--
-- Name: FUNCTION check_integrity(); Type: ACL; Schema: exchange; Owner: exchange_owner
--

REVOKE ALL ON FUNCTION exchange.check_integrity() FROM PUBLIC;
GRANT ALL ON FUNCTION exchange.check_integrity() TO exchange_reader;


--
-- Name: FUNCTION check_keys(); Type: ACL; Schema: exchange; Owner: exchange_owner
--

REVOKE ALL ON FUNCTION exchange.check_keys() FROM PUBLIC;
GRANT ALL ON FUNCTION exchange.check_keys() TO exchange_reader;


--
-- Name: FUNCTION check_orders(); Type: ACL; Schema: exchange; Owner: exchange_owner
--

REVOKE ALL ON FUNCTION exchange.check_orders() FROM PUBLIC;
GRANT ALL ON FUNCTION exchange.check_orders() TO exchange_reader;


--
-- Name: FUNCTION check_priority(); Type: ACL; Schema: exchange; Owner: exchange_owner
--

REVOKE ALL ON FUNCTION exchange.check_priority() FROM PUBLIC;
GRANT ALL ON FUNCTION exchange.check_priority() TO exchange_reader;


--
-- Name: FUNCTION collect_credits(p_account_keys integer[], p_settled_before xid8[], p_position_keys bigint[]); Type: ACL; Schema: exchange; Owner: exchange_owner
--

REVOKE ALL ON FUNCTION exchange.collect_credits(p_account_keys integer[], p_settled_before xid8[], p_position_keys bigint[]) FROM PUBLIC;


--
-- Name: FUNCTION count_open(); Type: ACL; Schema: exchange; Owner: exchange_owner
--

REVOKE ALL ON FUNCTION exchange.count_open() FROM PUBLIC;
GRANT ALL ON FUNCTION exchange.count_open() TO exchange_gateway;
GRANT ALL ON FUNCTION exchange.count_open() TO exchange_reader;


--
-- Name: FUNCTION create_account(p_account_id text, p_balance numeric, OUT outcome text, OUT code text, OUT message text); Type: ACL; Schema: exchange; Owner: exchange_owner
--

REVOKE ALL ON FUNCTION exchange.create_account(p_account_id text, p_balance numeric, OUT outcome text, OUT code text, OUT message text) FROM PUBLIC;
GRANT ALL ON FUNCTION exchange.create_account(p_account_id text, p_balance numeric, OUT outcome text, OUT code text, OUT message text) TO exchange_gateway;


--
-- Name: FUNCTION create_all(p_requests integer[], p_actions text[], p_account_ids text[], p_syms text[], p_amounts numeric[]); Type: ACL; Schema: exchange; Owner: exchange_owner
--

REVOKE ALL ON FUNCTION exchange.create_all(p_requests integer[], p_actions text[], p_account_ids text[], p_syms text[], p_amounts numeric[]) FROM PUBLIC;


--
-- Name: FUNCTION create_symbol(p_sym text, OUT outcome text, OUT code text, OUT message text); Type: ACL; Schema: exchange; Owner: exchange_owner
--

REVOKE ALL ON FUNCTION exchange.create_symbol(p_sym text, OUT outcome text, OUT code text, OUT message text) FROM PUBLIC;
GRANT ALL ON FUNCTION exchange.create_symbol(p_sym text, OUT outcome text, OUT code text, OUT message text) TO exchange_gateway;


--
-- Name: FUNCTION freeze_account(p_account_id text, OUT outcome text, OUT code text, OUT message text); Type: ACL; Schema: exchange; Owner: exchange_owner
--

REVOKE ALL ON FUNCTION exchange.freeze_account(p_account_id text, OUT outcome text, OUT code text, OUT message text) FROM PUBLIC;


--
-- Name: FUNCTION grant_shares(p_sym text, p_account_id text, p_shares numeric, OUT outcome text, OUT code text, OUT message text); Type: ACL; Schema: exchange; Owner: exchange_owner
--

REVOKE ALL ON FUNCTION exchange.grant_shares(p_sym text, p_account_id text, p_shares numeric, OUT outcome text, OUT code text, OUT message text) FROM PUBLIC;
GRANT ALL ON FUNCTION exchange.grant_shares(p_sym text, p_account_id text, p_shares numeric, OUT outcome text, OUT code text, OUT message text) TO exchange_gateway;


--
-- Name: FUNCTION halt_symbol(p_sym text, OUT outcome text, OUT code text, OUT message text); Type: ACL; Schema: exchange; Owner: exchange_owner
--

REVOKE ALL ON FUNCTION exchange.halt_symbol(p_sym text, OUT outcome text, OUT code text, OUT message text) FROM PUBLIC;


--
-- Name: FUNCTION is_number(p_value numeric); Type: ACL; Schema: exchange; Owner: exchange_owner
--

REVOKE ALL ON FUNCTION exchange.is_number(p_value numeric) FROM PUBLIC;


--
-- Name: FUNCTION list_applied_files(); Type: ACL; Schema: exchange; Owner: exchange_owner
--

REVOKE ALL ON FUNCTION exchange.list_applied_files() FROM PUBLIC;
GRANT ALL ON FUNCTION exchange.list_applied_files() TO exchange_gateway;
GRANT ALL ON FUNCTION exchange.list_applied_files() TO exchange_reader;


--
-- Name: FUNCTION lock_batch(p_actions text[], p_account_ids text[], p_syms text[], p_order_ids bigint[], OUT symbol_slots integer[], OUT last_account_key integer); Type: ACL; Schema: exchange; Owner: exchange_owner
--

REVOKE ALL ON FUNCTION exchange.lock_batch(p_actions text[], p_account_ids text[], p_syms text[], p_order_ids bigint[], OUT symbol_slots integer[], OUT last_account_key integer) FROM PUBLIC;


--
-- Name: FUNCTION place_order(p_account_id text, p_sym text, p_amount numeric, p_limit numeric, OUT outcome text, OUT order_id bigint, OUT executed_shares numeric, OUT executed_value numeric, OUT open_shares numeric, OUT code text, OUT message text); Type: ACL; Schema: exchange; Owner: exchange_owner
--

REVOKE ALL ON FUNCTION exchange.place_order(p_account_id text, p_sym text, p_amount numeric, p_limit numeric, OUT outcome text, OUT order_id bigint, OUT executed_shares numeric, OUT executed_value numeric, OUT open_shares numeric, OUT code text, OUT message text) FROM PUBLIC;
GRANT ALL ON FUNCTION exchange.place_order(p_account_id text, p_sym text, p_amount numeric, p_limit numeric, OUT outcome text, OUT order_id bigint, OUT executed_shares numeric, OUT executed_value numeric, OUT open_shares numeric, OUT code text, OUT message text) TO exchange_gateway;


--
-- Name: FUNCTION place_orders(p_requests integer[], p_account_ids text[], p_syms text[], p_amounts numeric[], p_limits numeric[], p_last_account_key integer); Type: ACL; Schema: exchange; Owner: exchange_owner
--

REVOKE ALL ON FUNCTION exchange.place_orders(p_requests integer[], p_account_ids text[], p_syms text[], p_amounts numeric[], p_limits numeric[], p_last_account_key integer) FROM PUBLIC;


--
-- Name: FUNCTION process_batch(p_sequences integer[], p_actions text[], p_account_ids text[], p_syms text[], p_amounts numeric[], p_limits numeric[], p_order_ids bigint[]); Type: ACL; Schema: exchange; Owner: exchange_owner
--

REVOKE ALL ON FUNCTION exchange.process_batch(p_sequences integer[], p_actions text[], p_account_ids text[], p_syms text[], p_amounts numeric[], p_limits numeric[], p_order_ids bigint[]) FROM PUBLIC;
GRANT ALL ON FUNCTION exchange.process_batch(p_sequences integer[], p_actions text[], p_account_ids text[], p_syms text[], p_amounts numeric[], p_limits numeric[], p_order_ids bigint[]) TO exchange_gateway;


--
-- Name: FUNCTION process_phases(p_sequences integer[], p_actions text[], p_account_ids text[], p_syms text[], p_amounts numeric[], p_limits numeric[], p_order_ids bigint[], p_symbol_slots integer[], p_last_account_key integer); Type: ACL; Schema: exchange; Owner: exchange_owner
--

REVOKE ALL ON FUNCTION exchange.process_phases(p_sequences integer[], p_actions text[], p_account_ids text[], p_syms text[], p_amounts numeric[], p_limits numeric[], p_order_ids bigint[], p_symbol_slots integer[], p_last_account_key integer) FROM PUBLIC;


--
-- Name: FUNCTION query_order(p_account_id text, p_order_id bigint); Type: ACL; Schema: exchange; Owner: exchange_owner
--

REVOKE ALL ON FUNCTION exchange.query_order(p_account_id text, p_order_id bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION exchange.query_order(p_account_id text, p_order_id bigint) TO exchange_gateway;


--
-- Name: FUNCTION query_orders(p_requests integer[], p_account_ids text[], p_order_ids bigint[]); Type: ACL; Schema: exchange; Owner: exchange_owner
--

REVOKE ALL ON FUNCTION exchange.query_orders(p_requests integer[], p_account_ids text[], p_order_ids bigint[]) FROM PUBLIC;


--
-- Name: FUNCTION quote(p_symbol_keys integer[], p_sides exchange.side[], p_price_ranks numeric[], p_order_ids bigint[], p_now timestamp with time zone); Type: ACL; Schema: exchange; Owner: exchange_owner
--

REVOKE ALL ON FUNCTION exchange.quote(p_symbol_keys integer[], p_sides exchange.side[], p_price_ranks numeric[], p_order_ids bigint[], p_now timestamp with time zone) FROM PUBLIC;


--
-- Name: FUNCTION refusal(p_code text, p_account_id text, p_sym text, p_amount numeric, p_limit numeric); Type: ACL; Schema: exchange; Owner: exchange_owner
--

REVOKE ALL ON FUNCTION exchange.refusal(p_code text, p_account_id text, p_sym text, p_amount numeric, p_limit numeric) FROM PUBLIC;


--
-- Name: FUNCTION resume_symbol(p_sym text, OUT outcome text, OUT code text, OUT message text); Type: ACL; Schema: exchange; Owner: exchange_owner
--

REVOKE ALL ON FUNCTION exchange.resume_symbol(p_sym text, OUT outcome text, OUT code text, OUT message text) FROM PUBLIC;


--
-- Name: FUNCTION settle_account(p_account_id text, OUT outcome text, OUT code text, OUT message text); Type: ACL; Schema: exchange; Owner: exchange_owner
--

REVOKE ALL ON FUNCTION exchange.settle_account(p_account_id text, OUT outcome text, OUT code text, OUT message text) FROM PUBLIC;
GRANT ALL ON FUNCTION exchange.settle_account(p_account_id text, OUT outcome text, OUT code text, OUT message text) TO exchange_gateway;


--
-- Name: FUNCTION settle_accounts(p_account_keys integer[]); Type: ACL; Schema: exchange; Owner: exchange_owner
--

REVOKE ALL ON FUNCTION exchange.settle_accounts(p_account_keys integer[]) FROM PUBLIC;


--
-- Name: FUNCTION settle_idle_accounts(p_limit integer); Type: ACL; Schema: exchange; Owner: exchange_owner
--

REVOKE ALL ON FUNCTION exchange.settle_idle_accounts(p_limit integer) FROM PUBLIC;
GRANT ALL ON FUNCTION exchange.settle_idle_accounts(p_limit integer) TO exchange_gateway;


--
-- Name: FUNCTION symbol_slot(p_sym text); Type: ACL; Schema: exchange; Owner: exchange_owner
--

REVOKE ALL ON FUNCTION exchange.symbol_slot(p_sym text) FROM PUBLIC;


--
-- Name: FUNCTION unfreeze_account(p_account_id text, OUT outcome text, OUT code text, OUT message text); Type: ACL; Schema: exchange; Owner: exchange_owner
--

REVOKE ALL ON FUNCTION exchange.unfreeze_account(p_account_id text, OUT outcome text, OUT code text, OUT message text) FROM PUBLIC;


--
-- Name: TABLE accounts; Type: ACL; Schema: exchange; Owner: exchange_owner
--

GRANT SELECT ON TABLE exchange.accounts TO exchange_reader;


--
-- Name: TABLE credits; Type: ACL; Schema: exchange; Owner: exchange_owner
--

GRANT SELECT ON TABLE exchange.credits TO exchange_reader;


--
-- Name: TABLE account_balances; Type: ACL; Schema: exchange; Owner: exchange_owner
--

GRANT SELECT ON TABLE exchange.account_balances TO exchange_reader;


--
-- Name: TABLE positions; Type: ACL; Schema: exchange; Owner: exchange_owner
--

GRANT SELECT ON TABLE exchange.positions TO exchange_reader;


--
-- Name: TABLE symbols; Type: ACL; Schema: exchange; Owner: exchange_owner
--

GRANT SELECT ON TABLE exchange.symbols TO exchange_reader;


--
-- Name: TABLE account_positions; Type: ACL; Schema: exchange; Owner: exchange_owner
--

GRANT SELECT ON TABLE exchange.account_positions TO exchange_reader;


--
-- Name: TABLE cancellations; Type: ACL; Schema: exchange; Owner: exchange_owner
--

GRANT SELECT ON TABLE exchange.cancellations TO exchange_reader;


--
-- Name: TABLE deposits; Type: ACL; Schema: exchange; Owner: exchange_owner
--

GRANT SELECT ON TABLE exchange.deposits TO exchange_reader;


--
-- Name: TABLE executions; Type: ACL; Schema: exchange; Owner: exchange_owner
--

GRANT SELECT ON TABLE exchange.executions TO exchange_reader;


--
-- Name: TABLE orders; Type: ACL; Schema: exchange; Owner: exchange_owner
--

GRANT SELECT ON TABLE exchange.orders TO exchange_reader;


--
-- Name: TABLE account_statement; Type: ACL; Schema: exchange; Owner: exchange_owner
--

GRANT SELECT ON TABLE exchange.account_statement TO exchange_reader;


--
-- Name: TABLE applied_files; Type: ACL; Schema: exchange; Owner: exchange_owner
--

GRANT SELECT ON TABLE exchange.applied_files TO exchange_reader;


--
-- Name: TABLE quotes; Type: ACL; Schema: exchange; Owner: exchange_owner
--

GRANT SELECT ON TABLE exchange.quotes TO exchange_reader;


--
-- Name: TABLE resting_orders; Type: ACL; Schema: exchange; Owner: exchange_owner
--

GRANT SELECT ON TABLE exchange.resting_orders TO exchange_reader;


--
-- Name: TABLE best_bid_ask; Type: ACL; Schema: exchange; Owner: exchange_owner
--

GRANT SELECT ON TABLE exchange.best_bid_ask TO exchange_reader;


--
-- Name: TABLE daily_volume; Type: ACL; Schema: exchange; Owner: exchange_owner
--

GRANT SELECT ON TABLE exchange.daily_volume TO exchange_reader;


--
-- Name: TABLE depth; Type: ACL; Schema: exchange; Owner: exchange_owner
--

GRANT SELECT ON TABLE exchange.depth TO exchange_reader;


--
-- Name: TABLE executions_1; Type: ACL; Schema: exchange; Owner: exchange_owner
--

GRANT SELECT ON TABLE exchange.executions_1 TO exchange_reader;


--
-- Name: TABLE open_orders; Type: ACL; Schema: exchange; Owner: exchange_owner
--

GRANT SELECT ON TABLE exchange.open_orders TO exchange_reader;


--
-- Name: TABLE order_book; Type: ACL; Schema: exchange; Owner: exchange_owner
--

GRANT SELECT ON TABLE exchange.order_book TO exchange_reader;


--
-- Name: TABLE order_history; Type: ACL; Schema: exchange; Owner: exchange_owner
--

GRANT SELECT ON TABLE exchange.order_history TO exchange_reader;


--
-- Name: TABLE orders_1; Type: ACL; Schema: exchange; Owner: exchange_owner
--

GRANT SELECT ON TABLE exchange.orders_1 TO exchange_reader;


--
-- Name: TABLE relation_bloat; Type: ACL; Schema: exchange; Owner: exchange_owner
--

GRANT SELECT ON TABLE exchange.relation_bloat TO exchange_reader;


--
-- Name: TABLE symbol_locks; Type: ACL; Schema: exchange; Owner: exchange_owner
--

GRANT SELECT ON TABLE exchange.symbol_locks TO exchange_reader;


--
-- Name: TABLE tape; Type: ACL; Schema: exchange; Owner: exchange_owner
--

GRANT SELECT ON TABLE exchange.tape TO exchange_reader;


--
-- Name: TABLE unsettled_credits; Type: ACL; Schema: exchange; Owner: exchange_owner
--

GRANT SELECT ON TABLE exchange.unsettled_credits TO exchange_reader;


--
-- Name: DEFAULT PRIVILEGES FOR TABLES; Type: DEFAULT ACL; Schema: exchange; Owner: exchange_owner
--

ALTER DEFAULT PRIVILEGES FOR ROLE exchange_owner IN SCHEMA exchange GRANT SELECT ON TABLES  TO exchange_reader;


--
-- Name: DEFAULT PRIVILEGES FOR FUNCTIONS; Type: DEFAULT ACL; Schema: -; Owner: exchange_owner
--

ALTER DEFAULT PRIVILEGES FOR ROLE exchange_owner REVOKE ALL ON FUNCTIONS  FROM PUBLIC;


--
-- PostgreSQL database dump complete
--

\unrestrict nUMj7jJh2IaQZ8cQNMl5TehzeylndHltWhc4Cmv8HPmf6iefha5bw3juAXHmHJT

