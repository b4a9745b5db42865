-- Lists the files of sql/ that this database was made from, so that a gateway, which may not read the ledger, can
-- refuse to serve a schema that it doesn't know.

create or replace function exchange.list_applied_files()
returns table (kind text, name text, checksum text)
language sql
stable
security definer
set search_path = exchange, pg_temp
as $$
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

comment on function exchange.list_applied_files() is
'Each file of sql/ that was applied here, with the checksum (SHA-256) of the text that holds now.';

revoke execute on function exchange.list_applied_files() from public;
grant execute on function exchange.list_applied_files() to exchange_gateway, exchange_reader;
