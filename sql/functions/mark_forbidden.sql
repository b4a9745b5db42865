-- Marks what the certificates of clients don't permit: its action becomes forbidden_order or forbidden_creation, which
-- takes no lock and does nothing, so the rest is done as if nobody had asked for it.
--
-- Each batch reads the tables anew, so a DBA's changes take effect with the next batch.
create or replace function exchange.mark_forbidden(p_requests exchange.request[])
returns exchange.request[]
language plpgsql
stable
as $$
begin
    return array(
        select
            (
                asked.sequence,
                case
                    when certificate.is_permitted then asked.action
                    when asked.action in ('create_account', 'create_symbol', 'grant_shares') then 'forbidden_creation'
                    else 'forbidden_order'
                end,
                asked.account_id,
                asked.sym,
                asked.amount,
                asked.limit_price,
                asked.order_id,
                asked.certificate_name,
                asked.terms
            )::exchange.request
        from unnest(p_requests) with ordinality as asked (
            sequence, action, account_id, sym, amount, limit_price, order_id, certificate_name, terms, place
        )
        cross join lateral exchange.certificate_may(asked.certificate_name, asked.action, asked.account_id) as certificate
        order by asked.place
    );
end
$$;

comment on function exchange.mark_forbidden(exchange.request[]) is
'The requests of a batch, with another action where the certificate that a request came with does not permit it.';

revoke all on function exchange.mark_forbidden(exchange.request[]) from public;
