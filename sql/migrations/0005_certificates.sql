-- Whom a client certificate may act for, where the gateway asks for certificates (--tls-client-ca). The DBA fills both tables.
--
-- Accounts are named by their ids and not by their keys: a name can be bound before its account is created, and no
-- foreign key burdens the updates of accounts.

set local role exchange_owner;

create table exchange.certificate_accounts (
    certificate_name text collate "C" not null,
    account_id text collate "C" not null,
    bound_at timestamptz not null default now(),
    constraint certificate_accounts_pkey primary key (certificate_name, account_id),
    constraint certificate_accounts_certificate_name_is_printable check (certificate_name ~ '^[ -~]{1,255}$'),
    constraint certificate_accounts_account_id_is_digits check (account_id ~ '^[0-9]{1,255}$')
);

comment on table exchange.certificate_accounts is
'Which accounts a client certificate may act for: a row binds a name to one account, for which it may then do all but '
'create. A name without a row here or in certificate_operators may do nothing. Read at each batch, '
'so inserting and deleting rows acts at once.';
comment on column exchange.certificate_accounts.certificate_name is
'The common name (CN) of the certificate''s subject: printable ASCII, as written (Ann is not ann).';
comment on column exchange.certificate_accounts.account_id is 'The client''s own identifier of the account, which need not exist yet.';
comment on column exchange.certificate_accounts.bound_at is 'When the row was made.';

create table exchange.certificate_operators (
    certificate_name text collate "C" not null,
    appointed_at timestamptz not null default now(),
    constraint certificate_operators_pkey primary key (certificate_name),
    constraint certificate_operators_certificate_name_is_printable check (certificate_name ~ '^[ -~]{1,255}$')
);

comment on table exchange.certificate_operators is
'Client certificates that may do everything: act for every account, and create accounts, symbols and shares, which makes '
'money. A table of its own, so that nobody becomes an operator by a value that was left out.';
comment on column exchange.certificate_operators.certificate_name is
'The common name (CN) of the certificate''s subject: printable ASCII, as written.';
comment on column exchange.certificate_operators.appointed_at is 'When the row was made.';

reset role;
