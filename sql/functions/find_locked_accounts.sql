-- Which requests act for accounts that somebody else has locked. One without a balance has no lock, and is unknown.
create or replace function exchange.find_locked_accounts(p_requests exchange.request[], p_others bigint[])
returns integer[]
language plpgsql
stable
as $$
begin
    if p_others is null then
        return array[]::integer[];
    end if;

    return array(
        select asked.place
        from exchange.survey(p_requests) as asked
        cross join lateral (
            select accounts.account_key
            from exchange.accounts
            where
                accounts.account_id = (asked.request).account_id
                and exists (select from exchange.balances where balances.account_key = accounts.account_key)
            offset 0
        ) as acting
        where asked.acts and acting.account_key = any(p_others)
    );
end
$$;

comment on function exchange.find_locked_accounts(exchange.request[], bigint[]) is
'The places of the requests whose accounts lock_accounts could not lock.';

revoke all on function exchange.find_locked_accounts(exchange.request[], bigint[]) from public;
