-- Creates accounts and symbols and grants shares, one after the other: a later request may need an earlier one.
create or replace function exchange.create_all(
    p_requests integer[],
    p_actions text[],
    p_account_ids text[],
    p_syms text[],
    p_amounts numeric[]
)
returns setof exchange.answer
language plpgsql
as $$
declare
    v_answer exchange.answer;
begin
    for i in 1 .. cardinality(p_requests) loop
        case p_actions[i]
            when 'create_account' then
                select created.outcome, created.code, created.message
                into v_answer.outcome, v_answer.code, v_answer.message
                from exchange.create_account(p_account_ids[i], p_amounts[i]) as created;
            when 'create_symbol' then
                select created.outcome, created.code, created.message
                into v_answer.outcome, v_answer.code, v_answer.message
                from exchange.create_symbol(p_syms[i]) as created;
            when 'grant_shares' then
                select granted.outcome, granted.code, granted.message
                into v_answer.outcome, v_answer.code, v_answer.message
                from exchange.grant_shares(p_syms[i], p_account_ids[i], p_amounts[i]) as granted;
            else
                raise exception 'unknown action: %', p_actions[i]
                    using errcode = 'EX001', hint = 'The comment on process_batch lists the actions.';
        end case;
        v_answer.request := p_requests[i];
        return next v_answer;
    end loop;
end
$$;

comment on function exchange.create_all(integer[], text[], text[], text[], numeric[]) is
'Carries out a run of create_account, create_symbol and grant_shares in the order given. Use those for one.';

revoke all on function exchange.create_all(integer[], text[], text[], text[], numeric[]) from public;
