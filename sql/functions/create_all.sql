-- Creates accounts and symbols and grants shares, one after the other: a later request may need an earlier one.
create or replace function exchange.create_all(
    p_places integer[],
    p_requests exchange.request[]
)
returns setof exchange.answer
language plpgsql
as $$
declare
    v_answer exchange.answer;
    v_asked record;
begin
    for v_asked in
        select asked.*
        from rows from (unnest(p_places), unnest(p_requests)) as asked (
            place, sequence, action, account_id, sym, amount, limit_price, order_id, certificate_name, terms
        )
    loop
        case v_asked.action
            when 'create_account' then
                select created.outcome, created.code, created.message
                into v_answer.outcome, v_answer.code, v_answer.message
                from exchange.create_account(v_asked.account_id, v_asked.amount) as created;
            when 'create_symbol' then
                select created.outcome, created.code, created.message
                into v_answer.outcome, v_answer.code, v_answer.message
                from exchange.create_symbol(v_asked.sym) as created;
            when 'grant_shares' then
                select granted.outcome, granted.code, granted.message
                into v_answer.outcome, v_answer.code, v_answer.message
                from exchange.grant_shares(v_asked.sym, v_asked.account_id, v_asked.amount) as granted;
            else
                raise exception 'unknown action: %', v_asked.action
                    using errcode = 'EX001', hint = 'The comment on process_batch lists the actions.';
        end case;
        v_answer.request := v_asked.place;
        return next v_answer;
    end loop;
end
$$;

comment on function exchange.create_all(integer[], exchange.request[]) is
'Carries out a run of create_account, create_symbol and grant_shares in the order given. Use those for one.';

revoke all on function exchange.create_all(integer[], exchange.request[]) from public;
