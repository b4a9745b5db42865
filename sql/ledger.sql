-- The ledger of what has been applied to this database: made once, before the first migration.

create table exchange.applied_files (
    -- squawk-ignore prefer-bigint-over-int
    applied_file_id integer generated always as identity,
    kind text not null,
    name text not null,
    checksum text not null,
    functions jsonb not null default '{}',
    pgbourse_version text not null,
    applied_by text not null default session_user,
    applied_at timestamptz not null default now(),
    constraint applied_files_pkey primary key (applied_file_id),
    constraint applied_files_kind_known check (kind in ('migration', 'function'))
);

-- A migration is applied once, whoever else is migrating at the same time; a function file whenever its text changes,
-- and going back to an earlier text is allowed.
create unique index applied_files_migration_once on exchange.applied_files (name) where kind = 'migration';

comment on table exchange.applied_files is
'Every file of sql/migrations and sql/functions that was applied here, oldest first; the newest row of a name is what '
'holds. Written by "pgbourse migrate", in the transaction of the file itself.';
comment on column exchange.applied_files.applied_file_id is 'Ascends in the order of application.';
comment on column exchange.applied_files.kind is 'migration (applied once) or function (applied when its text changes).';
comment on column exchange.applied_files.name is 'The file''s name without .sql.';
comment on column exchange.applied_files.checksum is 'SHA-256 of the file''s text, in hexadecimal.';
comment on column exchange.applied_files.functions is
'For each function that the file created or changed: its signature, and the SHA-256 of its definition, owner, rights and '
'comment as the file left them. "pgbourse migrate --check" compares.';
comment on column exchange.applied_files.pgbourse_version is 'The version of pgbourse that applied it.';
comment on column exchange.applied_files.applied_by is 'The role that applied it.';
comment on column exchange.applied_files.applied_at is 'When.';
