-- Carries out a run of looks: of one kind, or of several, called look.
--
-- It is stable, so all that it reads is of the instant at which it was called. It needs no lock.
create or replace function exchange.look(p_kind text, p_places integer[], p_requests exchange.request[])
returns setof exchange.answer
language plpgsql
stable
as $$
declare
    v_run record;
begin
    case p_kind
        when 'query_order' then
            return query
            select queried.*
            from exchange.query_orders(p_places, p_requests) as queried;
        when 'look_account' then
            return query
            select looked.*
            from exchange.look_accounts(p_places, p_requests) as looked;
        when 'list_orders' then
            return query
            select listed.*
            from exchange.list_orders_of(p_places, p_requests) as listed;
        when 'look_book' then
            return query
            select looked.*
            from exchange.look_books(p_places, p_requests) as looked;
        when 'look' then
            for v_run in
                select
                    asked.action as kind,
                    array_agg(asked.place order by asked.place) as places,
                    array_agg(
                        (
                            asked.sequence, asked.action, asked.account_id, asked.sym, asked.amount, asked.limit_price, asked.order_id,
                            asked.certificate_name, asked.terms
                        )::exchange.request
                        order by asked.place
                    ) as requests
                from rows from (unnest(p_places), unnest(p_requests)) as asked (
                    place, sequence, action, account_id, sym, amount, limit_price, order_id, certificate_name, terms
                )
                group by asked.action
            loop
                return query
                select looked.*
                from exchange.look(v_run.kind, v_run.places, v_run.requests) as looked;
            end loop;
    end case;
end
$$;

comment on function exchange.look(text, integer[], exchange.request[]) is
'Carries out query_order, look_account, list_orders and look_book, all of one instant: a run of one of these kinds, or of several '
'(look).';

revoke all on function exchange.look(text, integer[], exchange.request[]) from public;
