-- How many of the book's index entries have led this session to rows that are gone, by the server's statistics (track_counts).
-- Only differences within a transaction mean anything.
create or replace function exchange.count_stepped_over()
returns bigint
language sql
return
pg_stat_get_xact_tuples_returned('exchange.resting_orders_pkey'::regclass)
- pg_stat_get_xact_tuples_fetched('exchange.resting_orders_pkey'::regclass);

comment on function exchange.count_stepped_over() is
'How many index entries of the book have led this session to rows that are gone. Only differences within a transaction mean '
'anything.';

revoke all on function exchange.count_stepped_over() from public;
