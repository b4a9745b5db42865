-- Reads credits from end to end, and tells whom something is owed, and since which transaction.
--
-- By itself because it is the one query of the exchange that must not use an index: the entries of dead rows lead to a page each.
create or replace function exchange.find_owed(out account_keys bigint[], out since xid8)
language plpgsql
stable
set enable_seqscan = on
set enable_indexscan = off
set enable_indexonlyscan = off
as $$
begin
    -- What a transaction that still runs may owe is not before the snapshot's first one.
    select
        coalesce(array_agg(distinct credits.account_key), '{}'),
        least(min(credits.transaction_id), pg_snapshot_xmin(pg_current_snapshot()))
    into account_keys, since
    from exchange.credits;
end
$$;

comment on function exchange.find_owed() is
'The accounts that are owed anything, ascending, and a transaction before which no credit is left. Locks nothing.';

revoke all on function exchange.find_owed() from public;
