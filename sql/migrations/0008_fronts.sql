-- Notes on where the living orders at the front of a side of the book are, for times when the dead ones can't be removed.
--
-- The match begins at the best order, so dead index entries of better prices are in nobody's way. Those of the prices behind it
-- are: of orders that were filled when those prices were the best. A long snapshot in another session keeps them all.

set local role exchange_owner;

create table exchange.fronts (
    symbol_key integer not null,
    side exchange.side not null,
    seen_id bigint not null,
    seen_at timestamptz not null,
    end_rank numeric not null,
    level_ranks numeric[] not null,
    level_ids bigint[] not null,
    constraint fronts_pkey primary key (symbol_key, side, seen_id)
) with (autovacuum_vacuum_scale_factor = 0.1);

comment on table exchange.fronts is
'Where the first orders of a side of the book rest, noted by the match when it had to step over many index entries of orders '
'long gone, so that it need not do so again. What a row says stays true, for later orders have higher ids, but is of use for '
'seconds only. The newest row of a side counts. While vacuum keeps up, none is added.';
comment on column exchange.fronts.symbol_key is 'The symbol.';
comment on column exchange.fronts.side is 'buy or sell.';
comment on column exchange.fronts.seen_id is 'The row speaks of orders up to this one.';
comment on column exchange.fronts.seen_at is 'When it was made. The match takes no notice of one that is older than ten seconds.';
comment on column exchange.fronts.end_rank is 'The row speaks of ranks up to this one, the worst in level_ranks (see resting_orders).';
comment on column exchange.fronts.level_ranks is 'The ranks where those orders rest, best first: there are none at others.';
comment on column exchange.fronts.level_ids is 'For each rank the first order there: none that rests there has a lower id.';

reset role;
