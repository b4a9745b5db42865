-- The tables. Clients' identifiers (account id, symbol) are text at the edge and numbers inside.
--
-- orders, executions, cancellations, deposits and updates are history: rows are added and never changed. balances,
-- positions, credits, incoming_orders, resting_orders and book_hints are the present state, and small.
--
-- The rows of the hot tables carry keys without foreign keys: the functions take each key from the parent table in the
-- same transaction, nobody may delete a parent, and exchange.check_integrity() looks for orphans. A foreign key's
-- trigger would cost a query for every row of every fill (docs/decisions.md has the measurement).

set local role exchange_owner;

create type exchange.side as enum ('buy', 'sell');
comment on type exchange.side is 'Which side of the book an order is on.';

-- Constraints of tables are read from their text by every statement that inserts or updates. What a type says is read once in a
-- session. No table has rows yet that these would have to be checked against.
create domain exchange.quantity as numeric
-- squawk-ignore ban-create-domain-with-constraint
constraint quantity_not_negative check (value >= 0 and value < 'Infinity');
comment on domain exchange.quantity is 'Money or a number of shares that may be 0: a finite number, not below 0.';

create domain exchange.positive_quantity as numeric
-- squawk-ignore ban-create-domain-with-constraint
constraint positive_quantity_positive check (value > 0 and value < 'Infinity');
comment on domain exchange.positive_quantity is 'A number of shares, or a price: a finite number above 0.';

create type exchange.order_type as enum ('limit', 'market');
comment on type exchange.order_type is
'limit: to be filled at its limit or better. market: at whatever the book has, best first, within its budget if it buys.';

create type exchange.time_in_force as enum ('GTC', 'IOC', 'FOK');
comment on type exchange.time_in_force is
'GTC (good till cancelled): rests. IOC (immediate or cancel): what can''t be filled at once is cancelled. FOK (fill or kill): filled '
'wholly at once, or refused.';

create type exchange.self_trade as enum ('taker', 'maker', 'both');
comment on type exchange.self_trade is
'What is cancelled where an order would trade with one of its own account: the rest of the incoming order (taker), the resting '
'order (maker), or both.';

create type exchange.terms as (
    ref text,
    type exchange.order_type,
    budget numeric,
    tif exchange.time_in_force,
    post boolean,
    stp exchange.self_trade,
    of_ref text,
    if_open numeric
);
comment on type exchange.terms is
'What a request says beyond symbol, amount, limit and id. Null where it says none of it.';
comment on column exchange.terms.ref is
'The client''s own name: for the order that it places; or, where it has no order_id, of the order to query, cancel or reduce.';
comment on column exchange.terms.type is 'limit or market; null where the client did not say, which is limit.';
comment on column exchange.terms.budget is 'The most that a market buy may cost.';
comment on column exchange.terms.tif is 'GTC, IOC or FOK; null where the client did not say.';
comment on column exchange.terms.post is 'Whether to refuse the order if it would trade at once (post only).';
comment on column exchange.terms.stp is 'What to cancel rather than trade with an order of the same account (self-trade prevention).';
comment on column exchange.terms.of_ref is 'Of a replace without an order_id, the ref of the order to replace.';
comment on column exchange.terms.if_open is 'Of a replace, how many shares must be open of the old order; null where any number will do.';

create type exchange.request as (
    sequence integer,
    action text,
    account_id text,
    sym text,
    amount numeric,
    limit_price numeric,
    order_id bigint,
    certificate_name text,
    terms exchange.terms
);
comment on type exchange.request is
'One request of a batch. A batch is an array of them, and a request''s place in it, from 1, is what answers call it by.';
comment on column exchange.request.sequence is
'Whose request it is: those of one sequence (one client''s connection) are carried out in their order.';
comment on column exchange.request.action is
'What it asks for: place_order, cancel_order and so on; the comment on process_batch lists them.';
comment on column exchange.request.account_id is 'The account that is created, granted shares, or acts.';
comment on column exchange.request.sym is 'The symbol that is created, granted or traded.';
comment on column exchange.request.amount is
'The opening balance; the shares granted; or the shares to buy (more than 0) or to sell (less than 0).';
comment on column exchange.request.limit_price is 'The highest price to buy at, the lowest to sell at.';
comment on column exchange.request.order_id is 'The order to query, cancel, reduce or replace, or after which to list.';
comment on column exchange.request.certificate_name is
'The name in the client''s certificate, where the gateway asks for certificates; null where there is none.';
comment on column exchange.request.terms is 'What else it says; null where it says nothing else.';

create type exchange.answer as (
    request integer,
    outcome text,
    order_id bigint,
    shares numeric,
    price numeric,
    at timestamptz,
    code text,
    message text,
    sym text,
    amount numeric,
    ref text
);
comment on type exchange.answer is
'The answer to a request of a batch: one row, or for a query or a cancel one row for each part of the order''s life.';
comment on column exchange.answer.request is 'The request''s place in the batch, from 1.';
comment on column exchange.answer.outcome is
'created, opened, refused, later and so on; or of a queried or cancelled order the part that is open, canceled, reduced or executed.';
comment on column exchange.answer.order_id is 'The order''s id, where there is an order.';
comment on column exchange.answer.shares is 'Shares open, executed or canceled.';
comment on column exchange.answer.price is 'Price of one executed share.';
comment on column exchange.answer.at is 'When it was executed or canceled.';
comment on column exchange.answer.code is 'Why it was refused, for programs: insufficient_funds, unknown_order, and so on.';
comment on column exchange.answer.message is 'Why it was refused, for people.';
comment on column exchange.answer.sym is 'The symbol, in lists.';
comment on column exchange.answer.amount is 'In lists, an order''s amount as placed; what is reserved; or the number of orders at a price.';
comment on column exchange.answer.ref is 'In lists, the client''s own name for the order.';

-- What the stage that reserves has in hand while it works: composites, in arrays.
create type exchange.run_balance as (
    account_key bigint,
    row_address tid,
    cash numeric
);
comment on type exchange.run_balance is 'The balance of an account that is locked.';
comment on column exchange.run_balance.account_key is 'The account.';
comment on column exchange.run_balance.row_address is 'Where its row is. Nobody else changes it while the account is locked.';
comment on column exchange.run_balance.cash is 'Settled cash.';

create type exchange.held_locks as (
    creates boolean,
    symbol_slots integer[], -- noqa: LT01
    own_symbols_after bigint,
    balances exchange.run_balance[], -- noqa: LT01
    others bigint[], -- noqa: LT01
    goes_beyond boolean
);
comment on type exchange.held_locks is 'The locks that a batch holds, and what its requests are.';
comment on column exchange.held_locks.creates is 'Whether it holds the lock for creation, so that nobody else creates anything.';
comment on column exchange.held_locks.symbol_slots is 'The slots of the symbols that it may trade in.';
comment on column exchange.held_locks.own_symbols_after is
'If it creates, the highest symbol_key that there was before: symbols with higher ones are its own, and nobody else can see them.';
comment on column exchange.held_locks.balances is 'The accounts that it may act for, ascending by key.';
comment on column exchange.held_locks.others is 'The accounts that it would act for if nobody else had locked them.';
comment on column exchange.held_locks.goes_beyond is 'Whether any of its requests goes beyond the base protocol (is_beyond).';

create type exchange.reservation as (
    place integer,
    sequence integer,
    account_key bigint,
    symbol_key bigint,
    side exchange.side,
    shares numeric,
    limit_price numeric,
    holding_key bigint,
    code text,
    message text,
    terms exchange.terms,
    order_id bigint
);
comment on type exchange.reservation is 'An order in the stage that reserves, and what comes of it there.';
comment on column exchange.reservation.place is 'The order''s place among the requests.';
comment on column exchange.reservation.sequence is 'The sequence that it is of.';
comment on column exchange.reservation.account_key is 'The account that places it; null where there is no such account.';
comment on column exchange.reservation.symbol_key is 'The symbol; null where there is no such symbol.';
comment on column exchange.reservation.side is 'buy or sell.';
comment on column exchange.reservation.shares is 'How many shares it is for.';
comment on column exchange.reservation.limit_price is 'Its limit.';
comment on column exchange.reservation.holding_key is
'What it takes from, as much as order_cost says: the position_key of shares, or of symbol 0 for cash.';
comment on column exchange.reservation.code is
'Null where that is reserved. Else why it is refused; or later, where it must be asked again after a match, which may pay for it; '
'or locked, where somebody else has a lock that it needs; or duplicate, where it was placed before.';
comment on column exchange.reservation.message is 'Why it is refused, for people.';
comment on column exchange.reservation.terms is 'What else the order says; null where it says nothing else.';
comment on column exchange.reservation.order_id is 'The order that has its ref already; null where there is none.';

create type exchange.run_holding as (
    holding_key bigint,
    row_address tid,
    available numeric,
    taken numeric
);
comment on type exchange.run_holding is 'Cash or shares of an account that orders take from.';
comment on column exchange.run_holding.holding_key is 'Its position_key; of symbol 0 for cash.';
comment on column exchange.run_holding.row_address is 'Where its row is, in balances or positions; null where there is none.';
comment on column exchange.run_holding.available is 'What is settled and free.';
comment on column exchange.run_holding.taken is 'What the orders take of it together.';

-- What exchange.match has in hand while it works: composites of what it reads and tells, in arrays.
create type exchange.run_side as (
    symbol_key bigint,
    side exchange.side,
    reach numeric,
    depth integer,
    best_rank numeric,
    best_id bigint,
    is_hinted boolean
);
comment on type exchange.run_side is 'A side of the book that the incoming orders of a match may change, before they do.';
comment on column exchange.run_side.symbol_key is 'The symbol.';
comment on column exchange.run_side.side is 'buy or sell.';
comment on column exchange.run_side.reach is
'The highest price_rank that an incoming order may trade with; null where none of them can trade with this side.';
comment on column exchange.run_side.depth is 'How many of its resting orders to load at most.';
comment on column exchange.run_side.best_rank is
'The price_rank of its best order, by the newest update: Infinity where it is empty, null where there is no update.';
comment on column exchange.run_side.best_id is 'That order; 0 where it is empty.';
comment on column exchange.run_side.is_hinted is 'Whether there is a fresh hint (see book_hints).';

create type exchange.run_resting as (
    side_place integer,
    price_rank numeric,
    order_id bigint,
    account_key bigint,
    open_shares numeric,
    row_address tid
);
comment on type exchange.run_resting is 'An order that rests: loaded from the book, or left there by the match that is under way.';
comment on column exchange.run_resting.side_place is 'The place of its side among those of the match.';
comment on column exchange.run_resting.price_rank is 'As in resting_orders.';
comment on column exchange.run_resting.order_id is 'The order.';
comment on column exchange.run_resting.account_key is 'The account that placed it.';
comment on column exchange.run_resting.open_shares is 'What was open when it was loaded, or when it came to rest.';
comment on column exchange.run_resting.row_address is
'Where its row is; null where it has none yet. Nobody else changes rows of a locked symbol, so it stays there.';

create type exchange.event_kind as enum ('trade', 'remove', 'add', 'cancel', 'refuse', 'halt', 'resume');
comment on type exchange.event_kind is
'trade: an incoming order traded with a resting one. remove: a resting order was cancelled, because the incoming one is of the same '
'account and doesn''t trade with it, or on its account''s request. add: what was open of an incoming order came to rest. cancel: what '
'was open of it was cancelled, for it doesn''t rest. refuse: an order didn''t come in. What was reserved for what is removed, cancelled '
'or refused is given back. halt, resume: trading was halted, goes on.';

create type exchange.update_event as (
    kind exchange.event_kind,
    side exchange.side,
    order_id bigint,
    sell_order_id bigint,
    price numeric,
    shares numeric
);
comment on type exchange.update_event is 'Something that happened to the book of a symbol: see updates.';
comment on column exchange.update_event.kind is 'trade, add, remove, halt or resume.';
comment on column exchange.update_event.side is 'The side of the resting order; of a trade, of the one that rested before.';
comment on column exchange.update_event.order_id is 'That was added, or of which shares were removed. Of a trade, the order that bought.';
comment on column exchange.update_event.sell_order_id is 'Of a trade, the order that sold.';
comment on column exchange.update_event.price is 'The price of the trade, or the order''s limit.';
comment on column exchange.update_event.shares is 'How many shares were traded, came to rest, or were removed.';

-- Each match reads its events several times over. What has a fixed width comes first, for that is quicker to read than what stands
-- behind numerics and nulls.
create type exchange.run_event as (
    kind exchange.event_kind,
    side exchange.side,
    symbol_key bigint,
    account_key bigint,
    order_id bigint,
    resting_place integer,
    resting_id bigint,
    resting_account_key bigint,
    shares numeric,
    price numeric,
    limit_price numeric,
    budget numeric
);
comment on type exchange.run_event is 'Something that happened in a match. Its events, in their order, are all that it did.';
comment on column exchange.run_event.kind is 'What: trade, remove, add, cancel or refuse.';
comment on column exchange.run_event.side is 'The incoming order''s side.';
comment on column exchange.run_event.symbol_key is 'The symbol.';
comment on column exchange.run_event.account_key is 'The account that placed the incoming order.';
comment on column exchange.run_event.order_id is 'The incoming order; null where it was refused.';
comment on column exchange.run_event.resting_place is
'The place among the resting orders of the match: of the one that was traded with or removed, or of the incoming order that came '
'to rest.';
comment on column exchange.run_event.resting_id is 'Of a trade or a remove, the resting order.';
comment on column exchange.run_event.resting_account_key is 'Likewise, the account that placed the resting order.';
comment on column exchange.run_event.shares is
'How many shares were traded, came to rest, were cancelled, or were refused; of a remove, of the resting order.';
comment on column exchange.run_event.price is 'Of a trade, the price of a share: the resting order''s limit. Of a remove, that limit.';
comment on column exchange.run_event.limit_price is 'The incoming order''s limit; null for a market order.';
comment on column exchange.run_event.budget is
'Of a market buy, what was reserved for it. Each ends with a cancel, of 0 shares if all is filled, which gives back what is not spent.';

create type exchange.run_best as (
    price_rank numeric,
    order_id bigint
);
comment on type exchange.run_best is 'The best order of a side of the book.';
comment on column exchange.run_best.price_rank is 'Its rank; Infinity where the side is empty.';
comment on column exchange.run_best.order_id is 'The order; 0 where the side is empty.';

create type exchange.run_step as (
    kind exchange.event_kind,
    place integer,
    shares numeric
);
comment on type exchange.run_step is 'A step of an order that was planned.';
comment on column exchange.run_step.kind is 'trade or remove.';
comment on column exchange.run_step.place is 'The place of the resting order among those of the match.';
comment on column exchange.run_step.shares is 'How many shares are traded; or all that are open of the resting order.';

create type exchange.run_plan as (
    lacks boolean,
    code text,
    message text,
    steps exchange.run_step array,
    passed bigint array,
    best integer,
    rests numeric,
    cancels numeric
);
comment on type exchange.run_plan is 'What an order with terms will do when it is matched, all of it, and how it ends.';
comment on column exchange.run_plan.lacks is
'True where too little of the book is loaded to tell, and nothing else is set; else null.';
comment on column exchange.run_plan.code is 'Why it is refused; null where it isn''t.';
comment on column exchange.run_plan.message is 'The same for people.';
comment on column exchange.run_plan.steps is 'Its steps, in their order.';
comment on column exchange.run_plan.passed is 'The orders of its own account that these remove; null where there are none.';
comment on column exchange.run_plan.best is 'The place of the best resting order of the other side after that.';
comment on column exchange.run_plan.rests is 'How many shares come to rest.';
comment on column exchange.run_plan.cancels is 'How many of its shares are cancelled.';

create type exchange.order_end as (
    place integer,
    executed numeric,
    canceled numeric,
    passed bigint array
);
comment on type exchange.order_end is 'What became of an order with terms in a match.';
comment on column exchange.order_end.place is 'The place of the incoming order.';
comment on column exchange.order_end.executed is 'How many shares were filled.';
comment on column exchange.order_end.canceled is 'How many were cancelled.';
comment on column exchange.order_end.passed is 'The orders of its own account that were cancelled rather than traded with.';

create type exchange.run as (
    place integer,
    shares_left numeric,
    order_ids bigint array,
    codes text array,
    messages text array,
    ends exchange.order_end array,
    has_terms boolean,
    sides exchange.run_side array,
    symbol_keys bigint array,
    last_ranks numeric array,
    best_loaded integer array,
    best integer array,
    resting exchange.run_resting array,
    open numeric array,
    next integer array,
    lacks boolean,
    events exchange.run_event array,
    adds integer,
    used_up boolean,
    reduced boolean
);
comment on type exchange.run is 'How far the match of a run of incoming orders has come, and what it has in hand.';
comment on column exchange.run.place is 'The place of the incoming order that comes next.';
comment on column exchange.run.shares_left is 'What is left of that one, where it has traded already; null where it has not begun.';
comment on column exchange.run.order_ids is 'Of each incoming order, the id that it has got.';
comment on column exchange.run.codes is 'Of each incoming order, why it was refused.';
comment on column exchange.run.messages is 'The same for people, where only the match can tell; null where none was.';
comment on column exchange.run.ends is 'What became of those orders with terms that have been planned and carried out.';
comment on column exchange.run.has_terms is 'True once an order with terms has come.';
comment on column exchange.run.sides is 'The sides of the book that come into it: of each symbol its buys, then its sells.';
comment on column exchange.run.symbol_keys is 'Of each two of them, the symbol, ascending.';
comment on column exchange.run.last_ranks is 'Of each side, the price_rank up to which it was loaded; null where it was loaded whole.';
comment on column exchange.run.best_loaded is 'Of each side, the place of the best order in resting, as loaded.';
comment on column exchange.run.best is 'The same, now.';
comment on column exchange.run.resting is 'The resting orders that were loaded, then those that have come to rest.';
comment on column exchange.run.open is 'Of each resting order, the shares that are open now.';
comment on column exchange.run.next is 'Of each resting order, the place of the next one on its side; null where none is loaded.';
comment on column exchange.run.lacks is 'Whether it ended because too little is loaded to plan the order that comes next.';
comment on column exchange.run.events is 'What has happened with what is loaded now.';
comment on column exchange.run.adds is 'How many of these events are of the kind add.';
comment on column exchange.run.used_up is 'Whether they have used up a resting order.';
comment on column exchange.run.reduced is 'Whether they have used a resting order in part.';

create table exchange.accounts (
    account_key bigint generated always as identity (maxvalue 34359738367),
    account_id text collate "C" not null,
    created_at timestamptz not null,
    frozen_at timestamptz,
    constraint accounts_pkey primary key (account_key),
    constraint accounts_account_id_key unique (account_id),
    constraint accounts_account_id_is_digits check (
        account_id <> '' and btrim(account_id, '0123456789') = '' and length(account_id) <= 255
    )
);

comment on table exchange.accounts is
'One row for each account. What it has is in balances, positions and credits.';
comment on column exchange.accounts.account_key is
'Internal key, and the order in which accounts are locked. Ends at 2^35: see position_key.';
comment on column exchange.accounts.account_id is 'The client''s own identifier: digits, as written (007 is not 7).';
comment on column exchange.accounts.created_at is 'When the account was created.';
comment on column exchange.accounts.frozen_at is
'Since when the account may place no orders (freeze_account); null where it may.';

create table exchange.symbols (
    symbol_key bigint generated always as identity (maxvalue 268435455),
    sym text collate "C" not null,
    created_at timestamptz not null,
    halted_at timestamptz,
    constraint symbols_pkey primary key (symbol_key),
    constraint symbols_sym_key unique (sym),
    constraint symbols_sym_is_alphanumeric check (sym ~ '^[A-Za-z0-9]{1,255}$')
);

comment on table exchange.symbols is 'One row for each symbol that can be traded.';
comment on column exchange.symbols.symbol_key is 'Internal key. Ends at 2^28: see position_key.';
comment on column exchange.symbols.sym is 'The symbol as clients write it: ASCII letters and digits.';
comment on column exchange.symbols.created_at is 'When the symbol was first seen in a <create>.';
comment on column exchange.symbols.halted_at is 'Since when nobody may place orders for it (halt_symbol); null where they may.';

-- A look-up by a key that never changes tries every version of a row that vacuum has not removed yet; while any session
-- holds an old snapshot, that is all of them. So the keys of balances and positions end in a generation: it counts up with
-- every 16th change and is read newest first, which leaves 16 versions to try at most. The other 15 changes touch no index.
create table exchange.balances (
    account_key bigint not null,
    generation bigint not null default 0,
    changes bigint not null default 0,
    cash exchange.quantity not null,
    settled_before xid8 not null default '0',
    constraint balances_pkey primary key (account_key, generation)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.1);

comment on table exchange.balances is
'Settled cash of each account, one row for each. Its row lock is the account''s lock: whoever changes this row or the account''s '
'positions holds it. What others owe it waits in credits. Read account_balances to see what an account has.';
comment on column exchange.balances.account_key is 'Whose cash it is.';
comment on column exchange.balances.generation is
'Counts up with every 16th change and is read newest first, so that a look-up tries few dead versions of the row, even '
'while a long snapshot elsewhere keeps all of them.';
comment on column exchange.balances.changes is 'How often the row was changed; generation follows from it.';
comment on column exchange.balances.cash is 'Settled cash that is free to spend: reserved cash has already left it.';
comment on column exchange.balances.settled_before is
'Credits of transactions before this one are in the row already, which saves looking for them. In a restored copy it is a '
'transaction of another server: see settled_since.';

create table exchange.positions (
    account_key bigint not null,
    symbol_key bigint not null,
    generation bigint not null default 0,
    changes bigint not null default 0,
    shares exchange.quantity not null,
    constraint positions_pkey primary key (account_key, symbol_key, generation)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.1);

comment on table exchange.positions is
'Settled shares of each account in each symbol, one row for each. Updated only under the lock of the account''s row '
'in balances. Read account_positions to see what an account has.';
comment on column exchange.positions.account_key is 'The account that holds the shares.';
comment on column exchange.positions.symbol_key is 'The symbol that the shares are of.';
comment on column exchange.positions.generation is 'Counts up with every 16th change, and is read newest first: as in balances.';
comment on column exchange.positions.changes is 'How often the row was changed; generation follows from it.';
comment on column exchange.positions.shares is 'Settled shares that are free to sell: reserved shares have already left.';

-- A crash may lose numbers that were drawn and reserved with, since reserving doesn't wait for the log; they are drawn again then.
-- A gateway that still has such a number must not get somebody else's order by it. So the number of the session's process is part of
-- the id: no session outlives a crash.
create sequence exchange.incoming_ids maxvalue 1099511627775 cycle;
comment on sequence exchange.incoming_ids is 'The lower 40 bits of incoming_orders.incoming_id.';

-- Written by one transaction and deleted by the next, most often milliseconds later. So it has no index and no constraint
-- but types: rows are found by their address, and by incoming_id, in what is then a small table, where that fails.
create table exchange.incoming_orders (
    incoming_id bigint not null default ((pg_backend_pid()::bigint << 40) | nextval('exchange.incoming_ids')),
    -- squawk-ignore prefer-bigint-over-int
    session_pid integer not null, -- as pg_backend_pid() gives it
    account_key bigint not null,
    symbol_key bigint not null,
    side exchange.side not null,
    shares numeric not null,
    limit_price numeric,
    terms exchange.terms
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

comment on table exchange.incoming_orders is
'Orders between the two stages: what they can cost has left the account (reserve_orders), and they are not in the market yet '
'(match_orders, which deletes them here). For a buy shares * limit_price of cash is reserved, or the budget of a market order; for '
'a sell the shares. Nobody has been told of them: those of a session that is gone are given back, and nothing happened.';
comment on column exchange.incoming_orders.incoming_id is
'Names it until it is matched, and never another, not even after a crash: the session''s process and a number.';
comment on column exchange.incoming_orders.session_pid is
'The database session that reserved for it. As long as that lives it holds the advisory lock (5002, session_pid).';
comment on column exchange.incoming_orders.account_key is 'The account that placed it, and that the reservation is taken from.';
comment on column exchange.incoming_orders.symbol_key is 'The symbol that it buys or sells.';
comment on column exchange.incoming_orders.side is 'buy or sell.';
comment on column exchange.incoming_orders.shares is 'How many shares it is for; always positive.';
comment on column exchange.incoming_orders.limit_price is
'The highest price to buy at, the lowest to sell at; null for a market order.';
comment on column exchange.incoming_orders.terms is 'What else it says; null where it says nothing else.';

-- Ids are drawn while the symbol is locked, so no cache: a session that kept ids back would break time priority.
create sequence exchange.order_ids as bigint cache 1;
comment on sequence exchange.order_ids is 'Gives each accepted order its id. Within a symbol, earlier orders have smaller ids.';

create table exchange.orders (
    order_id bigint not null,
    account_key bigint not null,
    symbol_key bigint not null,
    side exchange.side not null,
    shares exchange.positive_quantity not null,
    limit_price exchange.positive_quantity,
    placed_at timestamptz not null,
    constraint orders_pkey primary key (order_id)
) partition by range (order_id);

-- One partition for all rows, until a DBA cuts it (docs/dba.md), so that a row always has a partition.
create table exchange.orders_1 partition of exchange.orders for values from (minvalue) to (maxvalue);

comment on table exchange.orders is
'Every order as it was placed. History: rows are added and never changed. Cut by order_id into partitions, so that old '
'ones can be moved out.';
comment on table exchange.orders_1 is 'Part of orders, which has the comments.';
comment on column exchange.orders.order_id is
'The id that the client is told. Ids of one symbol ascend in the order in which its orders were placed.';
comment on column exchange.orders.account_key is 'The account that placed it.';
comment on column exchange.orders.symbol_key is 'The symbol that it buys or sells.';
comment on column exchange.orders.side is 'buy or sell.';
comment on column exchange.orders.shares is 'How many shares it was for when placed; always positive.';
comment on column exchange.orders.limit_price is 'The highest price to buy at, the lowest to sell at; null for a market order.';
comment on column exchange.orders.placed_at is 'When it was placed.';

create table exchange.order_terms (
    order_id bigint not null,
    account_key bigint not null,
    ref text collate "C",
    type exchange.order_type,
    budget exchange.positive_quantity,
    tif exchange.time_in_force,
    post boolean not null,
    stp exchange.self_trade,
    replaced_order_id bigint,
    released_shares exchange.positive_quantity,
    executed_shares exchange.quantity,
    canceled_shares exchange.quantity,
    passed_order_ids bigint[],
    constraint order_terms_pkey primary key (order_id),
    constraint order_terms_ref_key unique (account_key, ref)
);
-- What ended a cancelled order is asked for by people (order_history), and only orders that ended others pay for it.
create index order_terms_replaced_order_id_idx on exchange.order_terms (replaced_order_id) where replaced_order_id is not null;
create index order_terms_passed_order_ids_idx on exchange.order_terms (order_id) where passed_order_ids is not null;

comment on table exchange.order_terms is
'What orders say beyond symbol, shares and limit, and what became of them at once: a row for each order that says anything of it. '
'History: rows are added and never changed, and not moved out, for a ref is taken for good.';
comment on column exchange.order_terms.order_id is 'The order, in orders.';
comment on column exchange.order_terms.account_key is 'The account that placed it, repeated here because a ref is unique within it.';
comment on column exchange.order_terms.ref is 'The client''s own name for the order; null where it has none.';
comment on column exchange.order_terms.type is 'limit or market; null where the client did not say, which is limit.';
comment on column exchange.order_terms.budget is 'The most that a market buy could cost.';
comment on column exchange.order_terms.tif is 'GTC, IOC or FOK; null where the client did not say.';
comment on column exchange.order_terms.post is 'Whether it was to be refused if it would have traded at once.';
comment on column exchange.order_terms.stp is 'What was to be cancelled rather than trade with an order of the same account.';
comment on column exchange.order_terms.replaced_order_id is 'The order in whose place it was placed; null where it replaced none.';
comment on column exchange.order_terms.released_shares is 'The open shares of that order, which were cancelled.';
comment on column exchange.order_terms.executed_shares is
'Shares filled when it was placed, as its client was told; null where it was not, having said no type, tif and stp.';
comment on column exchange.order_terms.canceled_shares is 'Shares cancelled when it was placed, likewise.';
comment on column exchange.order_terms.passed_order_ids is
'The resting orders of the same account that were cancelled rather than traded with, in the order in which it met them.';

create table exchange.resting_orders (
    symbol_key bigint not null,
    side exchange.side not null,
    price_rank numeric not null,
    order_id bigint not null,
    account_key bigint not null,
    open_shares numeric not null,
    constraint resting_orders_pkey primary key (symbol_key, side, price_rank, order_id),
    constraint resting_orders_open_shares_positive check (open_shares > 0),
    constraint resting_orders_price_rank_has_sides_sign check (case side when 'buy' then price_rank < 0 else price_rank > 0 end)
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

create index resting_orders_account_key_idx on exchange.resting_orders (account_key, order_id);

comment on table exchange.resting_orders is
'The book: the open part of each order. Its primary key is price-time priority: read in key order, one side of a '
'symbol comes best price first, and at one price the earlier order first. Read order_book for prices and symbols.';
comment on column exchange.resting_orders.symbol_key is 'The symbol.';
comment on column exchange.resting_orders.side is 'buy or sell.';
comment on column exchange.resting_orders.price_rank is
'The limit, negative for a buy, so that ascending is best first on both sides: highest bid, lowest ask.';
comment on column exchange.resting_orders.order_id is 'The order, in orders.';
comment on column exchange.resting_orders.account_key is 'The account that placed it, repeated here to spare the match a look-up.';
comment on column exchange.resting_orders.open_shares is 'What is neither executed nor cancelled; always positive.';

create type exchange.replacement as (
    new_order exchange.request,
    old_order exchange.resting_orders,
    reserved exchange.reservation,
    code text,
    message text
);
comment on type exchange.replacement is 'A replace as far as it can be decided before anything is done.';
comment on column exchange.replacement.new_order is 'The new order, as a request to place it.';
comment on column exchange.replacement.old_order is 'Where the old order rests.';
comment on column exchange.replacement.reserved is 'The new order in the stage that reserves.';
comment on column exchange.replacement.code is 'Why it is refused, or duplicate; null where it can go on.';
comment on column exchange.replacement.message is 'Why it is refused, for people.';

-- The newest update of a symbol is read for each run of orders: a scan that reads a whole page of the index, however few rows
-- it wants. Emptier pages make that cheaper.
create table exchange.updates (
    symbol_key bigint not null,
    seq bigint not null,
    transaction_id xid8 not null default pg_current_xact_id(),
    updated_at timestamptz not null,
    bid_rank numeric not null,
    bid_id bigint not null,
    ask_rank numeric not null,
    ask_id bigint not null,
    last_price numeric,
    last_at timestamptz,
    events exchange.update_event[] not null,
    constraint updates_pkey primary key (symbol_key, seq) with (fillfactor = 40)
) with (toast_tuple_target = 8160);
-- As it is, in its row, as long as it has room in a page: compressing what a large batch did is dearer than the bytes are.
alter table exchange.updates alter column events set storage external;

comment on table exchange.updates is
'What transactions did to the book of a symbol: a row for each that did anything to it. Written under the symbol''s lock, so seq '
'ascends in the order of commits. History: rows are added, and changed only by the transaction that has added them. The newest row '
'of a symbol also tells the match where both sides of the book begin, so that it steps over no index entries of orders long gone, '
'which a long snapshot in another session would keep from being removed.';
comment on column exchange.updates.symbol_key is 'The symbol.';
comment on column exchange.updates.seq is 'Counts the updates of the symbol, from 1, without a gap.';
comment on column exchange.updates.transaction_id is 'The transaction. What it does later to the same symbol is of the same update.';
comment on column exchange.updates.updated_at is 'When; never earlier than the one before.';
comment on column exchange.updates.bid_rank is
'The rank of the best buy order after it (see resting_orders); Infinity where there is none.';
comment on column exchange.updates.bid_id is 'The best buy order after it; 0 where there is none.';
comment on column exchange.updates.ask_rank is 'The rank of the best sell order after it; Infinity where there is none.';
comment on column exchange.updates.ask_id is 'The best sell order after it; 0 where there is none.';
comment on column exchange.updates.last_price is 'The price of the newest trade until then; null where there was none.';
comment on column exchange.updates.last_at is 'When that was.';
comment on column exchange.updates.events is 'What it did to the book, in the order in which it happened.';

-- The match begins at the best order, so dead index entries of better prices are in nobody's way. Those of the prices behind it
-- are: of orders that were filled when those prices were the best. A long snapshot in another session keeps them all.
create table exchange.book_hints (
    symbol_key bigint not null,
    side exchange.side not null,
    seen_id bigint not null,
    seen_at timestamptz not null,
    end_rank numeric not null,
    level_ranks numeric[] not null,
    level_ids bigint[] not null,
    constraint book_hints_pkey primary key (symbol_key, side, seen_id)
) with (autovacuum_vacuum_scale_factor = 0.1);

comment on table exchange.book_hints is
'Where the first orders of a side of the book rest, noted by the match when it had to step over many index entries of orders '
'long gone, so that it need not do so again. What a row says stays true, for later orders have higher ids, but it helps for '
'seconds only. The newest row of a side counts. While vacuum keeps up, none is added.';
comment on column exchange.book_hints.symbol_key is 'The symbol.';
comment on column exchange.book_hints.side is 'buy or sell.';
comment on column exchange.book_hints.seen_id is 'The row speaks of orders up to this one.';
comment on column exchange.book_hints.seen_at is 'When it was made. The match ignores one that is older than ten seconds.';
comment on column exchange.book_hints.end_rank is 'The row speaks of ranks up to this one, the worst in level_ranks (see resting_orders).';
comment on column exchange.book_hints.level_ranks is 'The ranks where those orders rest, best first: there are none at others.';
comment on column exchange.book_hints.level_ids is 'For each rank the first order there: none that rests there has a lower id.';

-- A sequence of its own, because a partitioned table can have no identity column before PostgreSQL 17.
create sequence exchange.execution_ids as bigint cache 1;
comment on sequence exchange.execution_ids is 'Gives each fill its id.';

create table exchange.executions (
    execution_id bigint not null default nextval('exchange.execution_ids'),
    symbol_key bigint not null,
    buy_order_id bigint not null,
    sell_order_id bigint not null,
    shares exchange.positive_quantity not null,
    price numeric not null,
    buy_limit numeric,
    sell_limit numeric,
    executed_at timestamptz not null,
    constraint executions_pkey primary key (execution_id),
    constraint executions_limits_cross check (buy_limit >= sell_limit),
    constraint executions_price_is_limit_of_earlier_order check (
        price = case when buy_order_id < sell_order_id then buy_limit else sell_limit end
    )
) partition by range (execution_id);
create table exchange.executions_1 partition of exchange.executions for values from (minvalue) to (maxvalue);
alter sequence exchange.execution_ids owned by exchange.executions.execution_id;
create index executions_buy_order_id_idx on exchange.executions (buy_order_id);
create index executions_sell_order_id_idx on exchange.executions (sell_order_id);
-- Rows come in the order of time, nearly. So this is a few pages however many rows there are, and costs an order next to nothing.
create index executions_executed_at_idx on exchange.executions using brin (executed_at);

comment on table exchange.executions is
'Every fill. History: rows are added and never changed. The constraints are the market''s rule: limits cross, and '
'the price is the limit of the order that was open first. Cut by execution_id into partitions, as orders is.';
comment on table exchange.executions_1 is 'Part of executions, which has the comments.';
comment on column exchange.executions.execution_id is 'Ascends, within a symbol, in the order of execution.';
comment on column exchange.executions.symbol_key is 'The symbol.';
comment on column exchange.executions.buy_order_id is 'The order that bought.';
comment on column exchange.executions.sell_order_id is 'The order that sold.';
comment on column exchange.executions.shares is 'How many shares changed hands.';
comment on column exchange.executions.price is 'Price of one share: the limit of the order that was open first.';
comment on column exchange.executions.buy_limit is
'The buy order''s limit, repeated so that this row can prove its price; null for a market order.';
comment on column exchange.executions.sell_limit is 'The sell order''s limit, likewise.';
comment on column exchange.executions.executed_at is 'When.';

-- Orders have ids that ascend in the order of events. What comes in between them, a cancel or a deposit, notes the last one.
create sequence exchange.entry_ids as bigint cache 1;
comment on sequence exchange.entry_ids is 'Numbers cancellations and deposits, together, in the order in which they happened.';

create table exchange.cancellations (
    order_id bigint not null,
    shares exchange.positive_quantity not null,
    canceled_at timestamptz not null,
    entry_id bigint not null default nextval('exchange.entry_ids'),
    after_order_id bigint not null default coalesce(pg_sequence_last_value('exchange.order_ids'), 0),
    constraint cancellations_pkey primary key (order_id)
);
create index cancellations_canceled_at_idx on exchange.cancellations using brin (canceled_at);

comment on table exchange.cancellations is
'Every cancel: the open part that it ended. History: rows are added and never changed.';
comment on column exchange.cancellations.order_id is 'The order, in orders; an order can be cancelled once.';
comment on column exchange.cancellations.shares is 'The open shares that the cancel ended.';
comment on column exchange.cancellations.canceled_at is 'When.';
comment on column exchange.cancellations.entry_id is 'Ascends, with that of deposits, in the order of events.';
comment on column exchange.cancellations.after_order_id is
'The last order id that had been given. What the cancel gave back can pay for later orders only, whatever the clock says.';

create table exchange.reductions (
    order_id bigint not null,
    shares exchange.positive_quantity not null,
    reduced_at timestamptz not null,
    entry_id bigint not null default nextval('exchange.entry_ids'),
    after_order_id bigint not null default coalesce(pg_sequence_last_value('exchange.order_ids'), 0),
    constraint reductions_pkey primary key (order_id, entry_id)
);
create index reductions_reduced_at_idx on exchange.reductions using brin (reduced_at);

comment on table exchange.reductions is
'Every reduction: the part of an order''s open shares that it cancelled, while the rest kept its place. What cancels all that is '
'open is a cancel. History: rows are added and never changed.';
comment on column exchange.reductions.order_id is 'The order, in orders.';
comment on column exchange.reductions.shares is 'The shares that were cancelled.';
comment on column exchange.reductions.reduced_at is 'When.';
comment on column exchange.reductions.entry_id is 'Ascends, with those of cancellations and deposits, in the order of events.';
comment on column exchange.reductions.after_order_id is 'The last order id that had been given: as in cancellations.';

create table exchange.switches (
    account_key bigint not null,
    -- squawk-ignore prefer-bigint-over-int
    after_seconds integer not null,
    fires_at timestamptz not null,
    constraint switches_pkey primary key (account_key),
    constraint switches_after_seconds_are_a_day_at_most check (after_seconds between 1 and 86400)
);
create index switches_fires_at_idx on exchange.switches (fires_at);

comment on table exchange.switches is
'Dead man''s switches that are armed: one row for each. At its time all open orders of the account are cancelled and the row is '
'deleted, by whichever gateway lives. Changed only under the account''s lock.';
comment on column exchange.switches.account_key is 'The account whose orders it cancels.';
comment on column exchange.switches.after_seconds is 'How many seconds after it was armed it fires.';
comment on column exchange.switches.fires_at is 'When it fires; never earlier.';

create table exchange.credits (
    account_key bigint not null,
    transaction_id xid8 not null default pg_current_xact_id(),
    credit_id bigint generated always as identity,
    symbol_key bigint not null,
    shares exchange.quantity not null,
    cash exchange.quantity not null,
    constraint credits_pkey primary key (account_key, transaction_id, credit_id)
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

comment on table exchange.credits is
'Money and shares owed to an account and not yet folded into its rows: proceeds, shares bought, refunds, grants. One row '
'for both, for all that a transaction owes an account in a symbol. '
'Appended without a lock on the account; folded (deleted and added) by the sweep, or by the account''s own next order that '
'can''t be paid for without.';
comment on column exchange.credits.account_key is 'Whom it is owed to.';
comment on column exchange.credits.transaction_id is
'The transaction that owes it. An account that has folded all credits of transactions before some point need not '
'step over their dead index entries again, as it otherwise would while another session holds a long snapshot.';
comment on column exchange.credits.credit_id is 'Ascends in the order of insertion, no more.';
comment on column exchange.credits.symbol_key is 'The symbol that was traded or given: of the shares, and whence the money comes.';
comment on column exchange.credits.shares is 'Shares of that symbol; 0 where only money is owed.';
comment on column exchange.credits.cash is 'Money; 0 where only shares are owed.';

create table exchange.deposits (
    deposit_id bigint not null default nextval('exchange.entry_ids'),
    account_key bigint not null,
    symbol_key bigint,
    amount exchange.positive_quantity not null,
    deposited_at timestamptz not null,
    after_order_id bigint not null default coalesce(pg_sequence_last_value('exchange.order_ids'), 0),
    constraint deposits_pkey primary key (deposit_id)
);
create index deposits_account_key_idx on exchange.deposits (account_key);

comment on table exchange.deposits is
'All money and shares that ever entered the exchange: opening balances and grants. History: rows are added and never '
'changed. Trading only moves what entered here; check_integrity holds the sums against it.';
comment on column exchange.deposits.deposit_id is 'Ascends, with the entry_id of cancellations, in the order of events.';
comment on column exchange.deposits.account_key is 'Who received it.';
comment on column exchange.deposits.symbol_key is 'The symbol of the shares; null where it is money.';
comment on column exchange.deposits.amount is 'Money, or shares of that symbol.';
comment on column exchange.deposits.deposited_at is 'When.';
comment on column exchange.deposits.after_order_id is 'The last order id that had been given: as in cancellations.';

reset role;
