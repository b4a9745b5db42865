-- Answers what mark_forbidden has marked. The words are the same whether or not the account exists.
create or replace function exchange.refuse_forbidden(p_places integer[], p_requests exchange.request[])
returns setof exchange.answer
language sql
stable
as $$
select
    asked.place,
    'refused',
    null::bigint,
    null::numeric,
    null::numeric,
    null::timestamptz,
    'not_permitted',
    case asked.action
        when 'forbidden_order'
            then format(
                'the certificate of %s may not act for account %s: only for the accounts that it is bound to',
                coalesce(asked.certificate_name, 'nobody'), coalesce(asked.account_id, 'null')
            )
        else format(
            'the certificate of %s may not create accounts, symbols or shares: only that of an operator may',
            coalesce(asked.certificate_name, 'nobody')
        )
    end
from rows from (unnest(p_places), unnest(p_requests)) as asked (
    place, sequence, action, account_id, sym, amount, limit_price, order_id, certificate_name
)
$$;

comment on function exchange.refuse_forbidden(integer[], exchange.request[]) is
'Refuses the requests that a certificate does not permit: not_permitted, and why.';

revoke all on function exchange.refuse_forbidden(integer[], exchange.request[]) from public;
