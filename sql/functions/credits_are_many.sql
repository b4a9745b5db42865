-- Whether it takes longer to read credits from end to end than to ask every account what it is owed: a page of rows, living or
-- dead, takes about as long as one look-up.
create or replace function exchange.credits_are_many()
returns boolean
language sql
volatile
return pg_relation_size('exchange.credits') / 8192 > (
    select pg_class.reltuples
    from pg_catalog.pg_class
    where pg_class.oid = 'exchange.balances'::regclass
);

comment on function exchange.credits_are_many() is
'Whether credits has more pages, be they of dead rows, than there are accounts. The sweep then goes by account.';

revoke all on function exchange.credits_are_many() from public;
