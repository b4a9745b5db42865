-- Tells which other sessions hold locks of the exchange for longer than a batch does, and which: what an open transaction in
-- some psql holds up, and whom to ask. A session's transaction is as old as its oldest lock can be.
--
-- Symbols (and creation) are advisory locks, which pg_locks shows. An account's lock is a row lock, which it doesn't; but the
-- row names the transaction that has it. So balances is read from end to end where there is an old transaction that has
-- changed or locked anything, and not at all where there is none. What was locked within a savepoint that has been released
-- can't be told; that something may be, the lock of the table says.
--
-- A security definer, for a gateway may know it too. It tells no text of any query.
create or replace function exchange.lock_holders(p_seconds numeric default 1)
returns table (
    pid integer,
    application_name text,
    username text,
    state text,
    held_for interval,
    creates boolean,
    symbols text[],
    accounts text[]
)
language plpgsql
stable
security definer
set search_path = exchange, pg_temp
as $$
#variable_conflict use_column
declare
    v_transactions xid[];
    v_row_pids integer[];
    v_row_accounts text[];
begin
    -- Without pg_read_all_stats there are no times, and so every other transaction counts as old.
    select array_agg(pg_locks.transactionid)
    into v_transactions
    from pg_catalog.pg_locks
    left join pg_catalog.pg_stat_activity on pg_locks.pid = pg_stat_activity.pid
    where
        pg_locks.locktype = 'transactionid'
        and pg_locks.granted
        and pg_locks.mode = 'ExclusiveLock'
        and pg_locks.pid is distinct from pg_backend_pid()
        and (pg_stat_activity.datname is null or pg_stat_activity.datname = current_database())
        and extract(epoch from clock_timestamp() - pg_stat_activity.xact_start) >= p_seconds is not false;

    if v_transactions is not null then
        select
            array_agg(coalesce(pg_locks.pid, 0)),
            array_agg(accounts.account_id)
        into v_row_pids, v_row_accounts
        from exchange.balances
        inner join exchange.accounts on balances.account_key = accounts.account_key
        inner join pg_catalog.pg_locks on balances.xmax = pg_locks.transactionid
        where
            balances.xmax = any(v_transactions)
            and pg_locks.locktype = 'transactionid'
            and pg_locks.granted
            and pg_locks.mode = 'ExclusiveLock';
    end if;

    return query
    with locked as (
        select
            coalesce(pg_locks.pid, 0) as pid, -- none where the transaction is a prepared one
            pg_locks.classid,
            symbols.sym,
            null as account_id,
            false as changes_balances
        from pg_catalog.pg_locks
        inner join pg_catalog.pg_database on pg_locks.database = pg_database.oid
        left join exchange.symbols on pg_locks.classid = 5000 and exchange.symbol_slot(symbols.symbol_key) = pg_locks.objid::bigint
        where
            pg_locks.locktype = 'advisory'
            and pg_locks.classid in (5000, 5001)
            and pg_locks.objsubid = 2
            and pg_locks.granted
            and pg_database.datname = current_database()
        union all
        select
            held.pid,
            null,
            null,
            held.account_id,
            false
        from unnest(v_row_pids, v_row_accounts) as held (pid, account_id)
        union all
        select
            coalesce(pg_locks.pid, 0),
            null,
            null,
            null,
            true
        from pg_catalog.pg_locks
        where
            pg_locks.relation = 'exchange.balances'::regclass
            and pg_locks.locktype = 'relation'
            and pg_locks.granted
            and pg_locks.mode not in ('AccessShareLock', 'ShareUpdateExclusiveLock')
            and pg_locks.database = (select pg_database.oid from pg_catalog.pg_database where pg_database.datname = current_database())
    )

    select
        nullif(locked.pid, 0),
        pg_stat_activity.application_name,
        pg_stat_activity.usename::text,
        coalesce(pg_stat_activity.state, case when locked.pid = 0 then 'prepared' end),
        clock_timestamp() - pg_stat_activity.xact_start,
        bool_or(locked.classid = 5001) is true,
        (array_agg(distinct locked.sym order by locked.sym) filter (where locked.sym is not null))[:100],
        coalesce(
            (array_agg(distinct locked.account_id order by locked.account_id) filter (where locked.account_id is not null))[:100],
            case when bool_or(locked.changes_balances) then '{}'::text[] end
        )
    from locked
    left join pg_catalog.pg_stat_activity on locked.pid = pg_stat_activity.pid
    where
        locked.pid <> pg_backend_pid()
        and extract(epoch from clock_timestamp() - pg_stat_activity.xact_start) >= p_seconds is not false
    group by locked.pid, pg_stat_activity.application_name, pg_stat_activity.usename, pg_stat_activity.state, pg_stat_activity.xact_start
    order by pg_stat_activity.xact_start asc nulls last, locked.pid asc;
end
$$;

comment on function exchange.lock_holders(numeric) is
'A row for each other session that has had a transaction open for at least p_seconds and holds a symbol, an account or the lock '
'of creation: who holds up whom. symbols and accounts are the first hundred of each; symbols that share a slot are held '
'together; creates says that nobody else can create anything. pid is null for a prepared transaction. held_for (since the '
'transaction began) and state are null without the rights of pg_read_all_stats. accounts is empty, and not null, where it can''t be told '
'which are held: after savepoints.';

revoke all on function exchange.lock_holders(numeric) from public;
grant execute on function exchange.lock_holders(numeric) to exchange_gateway, exchange_reader;
