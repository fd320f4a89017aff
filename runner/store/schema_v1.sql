-- Schema version 1 of the state database. Times are Unix milliseconds, money is micro-USD, documents are JSON text.
-- `events` is the truth; `runs`, `steps`, `attempts` and `reuse` are projections of it, written in the same transaction.
-- The lists of states agree with runner/core/states.py (a test compares them).
--
-- Lines of a run lie together and are appended: their `id` is the run's number `n` * 2^32 + their place in it, which also makes
-- (run, seq) unique without an index of its own. Text ids and a second b-tree would double what each commit writes.

create table meta (
    key text not null primary key,
    value text not null
) strict, without rowid;

create table manifests (
    digest text not null primary key,
    name text not null,
    graph text not null,
    source text not null,
    steps integer not null default 0,
    created integer not null
) strict;

create table runs (
    n integer primary key,
    run text not null unique,
    root text not null,
    parent text,
    parent_node text,
    name text not null,
    manifest text not null,
    task text not null,
    inputs text not null,
    state text not null default 'pending'
        check (state in ('pending', 'running', 'suspended', 'succeeded', 'failed', 'cancelled', 'superseded')),
    verdict text,
    leg integer not null default 1,
    reason text not null default '',
    fingerprint text not null default '',
    forked_from text,
    superseded_by text,
    spec_version integer not null default 1,
    created integer not null,
    finished integer,
    -- Totals as of `finished`; of an unfinished run the view `run_rows` counts them.
    cost integer not null default 0,
    steps_done integer not null default 0
) strict;

create index runs_of_root on runs (root);
create index runs_of_parent on runs (parent) where parent is not null;
create index runs_top on runs (parent) where parent is null;
create index runs_of_name on runs (name) where parent is null;
create index runs_of_task on runs (task) where parent is null;

create table roots (
    root text not null primary key,
    owner text,
    epoch integer not null
) strict, without rowid;

create table owners (
    owner text not null primary key,
    host text not null,
    pid integer not null,
    pid_start integer not null,
    heartbeat integer not null
) strict, without rowid;

-- The place is `seq`, which counts from 1 in each run.
create table events (
    id integer primary key check (id & 4294967295 > 0),
    at integer not null,
    kind text not null,
    node text not null,
    v integer not null,
    data text not null
) strict;

-- The place is the order in which events first named them.
create table steps (
    id integer primary key,
    node text not null,
    state text not null
        check (state in ('pending', 'running', 'succeeded', 'failed', 'cancelled', 'skipped', 'waiting', 'suspended',
                         'blocked', 'reused', 'group')),
    attempt integer not null,
    choice integer not null,
    tries integer not null,
    lost integer not null,
    tried text not null,
    effects text not null,
    key text,
    producer text,
    result_seq integer,
    reason text not null,
    until integer,
    item_key text,
    cost integer not null,
    started integer,
    ended integer,
    executor text not null,
    model text not null,
    error text,
    reused integer not null
) strict;

-- The place is the order in which they started.
create table attempts (
    id integer primary key,
    node text not null,
    n integer not null,
    executor text not null,
    model text not null,
    mode text not null,
    session text,
    effect_key text not null,
    started integer not null,
    ended integer,
    state text not null check (state in ('running', 'succeeded', 'failed', 'cancelled', 'lost')),
    class text not null,
    message text not null,
    effect text not null check (effect in ('none', 'maybe')),
    cost integer not null,
    cost_source text not null,
    tokens text not null,
    log text not null,
    reason text not null
) strict;

-- A result too large for its event: inline up to 1 MiB, else the file `outputs/DIGEST` beside the database.
create table outputs (
    digest text not null primary key,
    size integer not null,
    kind text not null check (kind in ('inline', 'file')),
    inline blob
) strict;

-- Newest success of a key under a manifest's name: the step. `slot` is 128 bits of digest of both: a quarter of their size, in a
-- table where each success lands on another page.
create table reuse (
    slot blob not null primary key,
    step integer not null
) strict, without rowid;

create table inbox (
    id integer primary key autoincrement,
    root text not null,
    kind text not null,
    body text not null,
    by text not null,
    at integer not null,
    taken integer
) strict;

create index inbox_waiting on inbox (root) where taken is null;

create table ledger (
    id integer primary key,
    scope text not null check (scope in ('run', 'step', 'day')),
    scope_id text not null,
    attempt text not null,
    held integer not null check (held >= 0),
    spent integer not null check (spent >= 0),
    source text not null
) strict;

create index ledger_of_scope on ledger (scope, scope_id);

create table caps (
    scope text not null check (scope in ('run', 'step', 'day')),
    scope_id text not null,
    cap integer not null check (cap >= 0),
    held integer not null check (held >= 0),
    spent integer not null check (spent >= 0),
    primary key (scope, scope_id)
) strict, without rowid;

create table modes (
    mode text not null check (mode in ('normal', 'degraded', 'brainstem')),
    epoch integer not null primary key,
    since integer not null,
    pinned_until integer
) strict;

create table circuits (
    endpoint text not null primary key,
    state text not null check (state in ('closed', 'open', 'half_open')),
    failures text not null,
    opened integer,
    until integer,
    epoch integer not null
) strict, without rowid;

create view run_rows as
select
    r.n, r.run, r.root, r.parent, r.parent_node, r.name, r.manifest, r.task, r.inputs, r.state, r.verdict,
    r.leg, r.reason, r.fingerprint, r.forked_from, r.superseded_by, r.created, r.finished,
    case when r.finished is not null then r.cost else
        coalesce((select sum(s.cost) from steps s where s.id between r.n << 32 and (r.n << 32) + 4294967295), 0) end as cost,
    case when r.finished is not null then r.steps_done else
        (select count(*) from steps s where s.id between r.n << 32 and (r.n << 32) + 4294967295 and instr(s.node, '[') = 0
            and s.state in ('succeeded', 'failed', 'cancelled', 'skipped', 'blocked', 'reused')) end as steps_done,
    coalesce(m.steps, 0) as steps_total,
    o.owner, o.host, o.pid, o.pid_start, o.heartbeat
from runs r
left join manifests m on m.digest = r.manifest
left join roots l on l.root = r.root
left join owners o on o.owner = l.owner;
