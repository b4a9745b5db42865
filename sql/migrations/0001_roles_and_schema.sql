-- The three roles, and the schema that everything lives in.
--
-- Roles belong to the whole cluster, so another database on this server may have made them already,
-- perhaps at this very moment.

do $$
declare
    v_role text;
begin
    foreach v_role in array array['exchange_owner', 'exchange_gateway', 'exchange_reader'] loop
        if not exists (select from pg_catalog.pg_roles where rolname = v_role) then
            begin
                execute format('create role %I nologin', v_role);
            exception
                when duplicate_object or unique_violation then
                    raise notice 'role % was made by another session meanwhile', v_role;
            end;
        end if;
    end loop;
end
$$;

-- Whoever made the roles may comment on them. Another role that migrates a second database of this server may not,
-- however much it is a member of them, and finds the comments there.
do $$
declare
    v_role text;
    v_comment text;
begin
    for v_role, v_comment in
        values
            ('exchange_owner', 'Owns everything in the schema exchange of a pgbourse database. Nobody logs in as it.'),
            (
                'exchange_gateway',
                'What a pgbourse gateway may do: execute the API functions of the schema exchange, and nothing else.'
            ),
            (
                'exchange_reader',
                'What an auditor of a pgbourse database may do: read every table and view of the schema exchange.'
            )
    loop
        begin
            execute format('comment on role %I is %L', v_role, v_comment);
        exception
            when insufficient_privilege then
                raise notice 'role % is not commented on: that is for whoever made it', v_role;
        end;
    end loop;
end
$$;

-- Whoever migrates acts as the owner from here on, and perhaps as a gateway. A superuser may anyway; another role
-- made these roles above and so may admit itself (which it is not by that alone since PostgreSQL 16), or has been
-- made a member by whoever did.
do $$
declare
    v_role text;
    v_option text := case when current_setting('server_version_num')::integer >= 160000 then 'set' else 'member' end;
begin
    foreach v_role in array array['exchange_owner', 'exchange_gateway'] loop
        if not pg_catalog.pg_has_role(current_user, v_role, v_option) then
            begin
                execute format('grant %I to %I', v_role, current_user);
            exception
                when insufficient_privilege then
                    raise notice 'role % does not become a member of %', current_user, v_role;
            end;
        end if;
    end loop;
end
$$;

-- The ledger came first, and its schema with it.
create schema if not exists exchange;
grant create on schema exchange to exchange_owner;
alter table if exists exchange.applied_files owner to exchange_owner;
alter schema exchange owner to exchange_owner;

-- A member that does not inherit the owner's rights has them so.
set local role exchange_owner;

comment on schema exchange is
'A stock exchange. The functions lock, match and move cash and shares; the tables hold the book, the balances and the history; the '
'views are what to read. Start with exchange.account_balances, exchange.order_book and exchange.place_order.';

-- Denied by default: a function is for the owner alone until its own file grants it.
alter default privileges for role exchange_owner in schema exchange
revoke execute on functions from public;
alter default privileges for role exchange_owner
revoke execute on functions from public;
alter default privileges for role exchange_owner in schema exchange
grant select on tables to exchange_reader;

grant usage on schema exchange to exchange_gateway, exchange_reader;
grant select on all tables in schema exchange to exchange_reader;
