-- Answers what mark_forbidden and mark_later have marked. The words are the same whether or not the account exists.
create or replace function exchange.answer_marked(p_places integer[], p_requests exchange.request[])
returns setof exchange.answer
language sql
stable
as $$
select
    asked.place,
    case asked.action when 'later' then 'later' else 'refused' end,
    null::bigint,
    null::numeric,
    null::numeric,
    null::timestamptz,
    case asked.action when 'later' then 'locked' else 'not_permitted' end,
    exchange.forbidden(asked.action, asked.account_id, asked.certificate_name),
    null::text,
    null::numeric,
    null::text
from rows from (unnest(p_places), unnest(p_requests)) as asked (
    place, sequence, action, account_id, sym, amount, limit_price, order_id, certificate_name, terms
)
$$;

comment on function exchange.answer_marked(integer[], exchange.request[]) is
'Refuses the requests that a certificate does not permit (not_permitted), and says later of those that need a lock which somebody '
'else holds (locked).';

revoke all on function exchange.answer_marked(integer[], exchange.request[]) from public;
