-- Whether a client whose certificate has this name may make a request: one row. What isn't in the tables is not permitted,
-- and neither is a missing name.
--
-- Simple enough to be inlined. The offsets keep both look-ups by key, whatever size the planner thinks the tables have.
create or replace function exchange.certificate_may(p_certificate_name text, p_action text, p_account_id text)
returns table (is_permitted boolean)
language sql
stable
as $$
select
    exists (
        select
        from exchange.certificate_operators
        where certificate_operators.certificate_name = p_certificate_name
        offset 0
    )
    or (
        (
            p_action in (
                'place_order', 'replace_order', 'reduce_order', 'reduce_order_to', 'query_order', 'cancel_order', 'cancel_all',
                'arm_switch', 'disarm_switch', 'look_account', 'list_orders', 'look_book'
            )
        ) is true
        and exists (
            select
            from exchange.certificate_accounts
            where
                certificate_accounts.certificate_name = p_certificate_name
                and certificate_accounts.account_id = p_account_id
            offset 0
        )
    )
$$;

comment on function exchange.certificate_may(text, text, text) is
'Whether a name in certificate_operators or certificate_accounts lets its certificate take this action for this account.';

revoke all on function exchange.certificate_may(text, text, text) from public;
