-- Only statements with their own snapshot see what the last holder of a lock has committed.
create or replace function exchange.require_read_committed()
returns void
language plpgsql
stable
as $$
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'the exchange works in transactions that are read committed, not %', current_setting('transaction_isolation')
            using errcode = 'EX003', hint = 'begin transaction isolation level read committed';
    end if;
end
$$;

comment on function exchange.require_read_committed() is
'Raises EX003 in a transaction of another isolation level, where what is read after a lock was taken may be older than the lock.';

revoke all on function exchange.require_read_committed() from public;
