-- Every statement of the store, by name. Read by queries.py.

-- name: take_epoch
-- The epoch of a root's lease: what a unit must carry.
select epoch from roots where root = ?

-- name: insert_event
-- One line of the record.
insert into events (id, at, kind, node, v, data) values (?, ?, ?, ?, ?, ?)

-- name: put_step
-- The whole projection of a step, in the order of StepCells.
insert or replace into steps (id, node, state, attempt, choice, tries, lost, tried, effects, key, producer, result_seq,
    reason, until, item_key, cost, started, ended, executor, model, error, reused)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: put_attempt
-- The whole projection of an attempt, in the order of AttemptCells.
insert or replace into attempts (id, node, n, executor, model, mode, session, effect_key, started, ended, state, class,
    message, effect, cost, cost_source, tokens, log, reason)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: update_run
-- What events change in a run, in the order of run_values.
update runs set state = ?, verdict = ?, leg = ?, reason = ?, superseded_by = ?, finished = ?, cost = ?, steps_done = ?
where n = ?

-- name: put_reuse
-- The newest success of a key.
insert or replace into reuse (slot, step) values (?, ?)

-- name: take_inbox
-- A message has led to events.
update inbox set taken = ? where id = ? and taken is null

-- name: insert_manifest
-- A compiled manifest, once by digest, with the number of its steps.
insert into manifests (digest, name, graph, source, created, steps)
select ?1, ?2, ?3, ?4, ?5, case when json_valid(?3) then coalesce(json_array_length(?3, '$.steps'), 0) else 0 end
where not exists (select 1 from manifests where digest = ?1)

-- name: insert_run
-- A run that is about to start.
insert into runs (run, root, parent, parent_node, name, manifest, task, inputs, reason, fingerprint, forked_from, created)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) returning n

-- name: insert_output
-- A large result, once by digest.
insert into outputs (digest, size, kind, inline) values (?, ?, ?, ?) on conflict do nothing

-- name: output
-- A large result.
select kind, inline from outputs where digest = ?

-- name: live_run
-- What the writer keeps of a run while it writes to it.
select n, name, root,
    coalesce((select max(id) from events where id between n << 32 and (n << 32) + 4294967295), 0) & 4294967295,
    coalesce((select max(id) from attempts where id between r.n << 32 and (r.n << 32) + 4294967295), 0) & 4294967295,
    state, verdict, leg, reason, superseded_by, finished, cost, steps_done
from runs r where run = ?

-- name: live_steps
-- All steps of a run, in the order of StepCells.
select id, node, state, attempt, choice, tries, lost, tried, effects, key, producer, result_seq, reason, until, item_key,
    cost, started, ended, executor, model, error, reused
from steps where id between ?1 << 32 and (?1 << 32) + 4294967295 order by id

-- name: live_attempts
-- The attempts of a run that are not over, in the order of AttemptCells.
select id, node, n, executor, model, mode, session, effect_key, started, ended, state, class, message,
    effect, cost, cost_source, tokens, log, reason
from attempts where id between ?1 << 32 and (?1 << 32) + 4294967295 and state = 'running'

-- name: lease
-- Who holds a root.
select l.epoch, o.owner, o.host, o.pid, o.pid_start, o.heartbeat
from roots l left join owners o on o.owner = l.owner where l.root = ?

-- name: put_lease
-- A new holder, and with it a new epoch.
insert into roots (root, owner, epoch) values (?, ?, 1)
on conflict (root) do update set owner = excluded.owner, epoch = epoch + 1
returning epoch

-- name: drop_lease
-- The holder gives it back.
update roots set owner = null where root = ? and epoch = ?

-- name: put_owner
-- A process says that it lives.
insert or replace into owners (owner, host, pid, pid_start, heartbeat) values (?, ?, ?, ?, ?)

-- name: rivals
-- Runs of the same task that a new one must reckon with.
select run, state from runs
where parent is null and task = ? and state in ('pending', 'running', 'suspended', 'failed', 'cancelled')
order by n

-- name: run_state
-- The state of a run.
select state from runs where run = ?

-- name: unfinished_of_root
-- Runs of a tree that have not ended, the root last.
select run from runs where root = ? and state in ('pending', 'running', 'suspended') order by n desc

-- name: unknown_steps
-- Steps of a tree whose outcome nobody knows, with the graph that they belong to. The second value: its runner is dead, so what was
-- under way is lost.
select r.run, s.node, m.graph from runs r
join steps s on s.id between r.n << 32 and (r.n << 32) + 4294967295
    and (s.state in ('suspended', 'failed') and s.reason = 'unknown' or ?2 and s.state = 'running' and s.effects = 'once')
left join manifests m on m.digest = r.manifest
where r.root = ?1 order by r.n, s.node

-- name: post
-- A message for the owner of a root.
insert into inbox (root, kind, body, by, at) values (?, ?, ?, ?, ?) returning id

-- name: inbox
-- Messages that nobody has taken yet.
select id, root, kind, body, by, at from inbox where root = ? and taken is null order by id

-- name: inboxes
-- Messages that nobody has taken yet, of all trees.
select id, root, kind, body, by, at from inbox indexed by inbox_waiting where taken is null order by id

-- name: run
-- One run.
select * from run_rows where run = ?

-- name: runs
-- Root runs, newest first.
select * from run_rows where parent is null order by n desc limit ?

-- name: runs_of_name
-- Root runs of a manifest, newest first.
select * from run_rows where parent is null and name = ? order by n desc limit ?

-- name: runs_of_task
-- Root runs of a task, newest first.
select * from run_rows where parent is null and task = ? order by n desc limit ?

-- name: runs_of_name_and_task
-- Root runs of a manifest and task, newest first.
select * from run_rows where parent is null and name = ? and task = ? order by n desc limit ?

-- name: find
-- Runs whose id begins with a prefix: from it to the last id that has it.
select * from run_rows where run >= ?1 and run < ?1 || char(1114111) order by run limit ?2

-- name: children
-- Sub-runs of a run, oldest first.
select * from run_rows where parent = ? order by n

-- name: tree
-- All runs of a tree, root first.
select * from run_rows where root = ? order by parent is not null, n

-- name: graph
-- The graph of a manifest.
select graph from manifests where digest = ?

-- name: event_bodies
-- The record of a run, without its places.
select e.kind, e.node, e.data from runs r
join events e on e.id between r.n << 32 and (r.n << 32) + 4294967295
where r.run = ? order by e.id

-- name: events
-- The record of a run after a place.
select r.run, e.id & 4294967295, e.at, e.kind, e.node, e.data from runs r
join events e on e.id between (r.n << 32) + ?2 + 1 and (r.n << 32) + 4294967295
where r.run = ?1 order by e.id

-- name: newest_event
-- The last event of a kind in the record of a run.
select e.id & 4294967295, e.at, e.node, e.data from runs r
join events e on e.id between r.n << 32 and (r.n << 32) + 4294967295
where r.run = ?1 and e.kind = ?2 order by e.id desc limit 1

-- name: steps
-- Steps with the event that holds their result.
select r.run, s.node, s.state, s.attempt, s.tries, s.lost, s.key, s.producer, s.reason, s.until, s.item_key, s.cost,
    s.started, s.ended, s.executor, s.model, s.error, s.reused, e.data
from runs r
join steps s on s.id between r.n << 32 and (r.n << 32) + 4294967295
left join events e on e.id = (r.n << 32) + s.result_seq
where r.run = ?

-- name: attempts
-- Attempts of a run.
select r.run, node, a.n, executor, model, mode, session, effect_key, started, ended, a.state, class, message,
    effect, a.cost, cost_source, tokens, log, a.reason
from runs r join attempts a on a.id between r.n << 32 and (r.n << 32) + 4294967295
where r.run = ? order by a.id

-- name: attempts_of_node
-- Attempts of one step or item.
select r.run, node, a.n, executor, model, mode, session, effect_key, started, ended, a.state, class, message,
    effect, a.cost, cost_source, tokens, log, a.reason
from runs r join attempts a on a.id between r.n << 32 and (r.n << 32) + 4294967295
where r.run = ? and a.node = ? order by a.id

-- name: manifest
-- A compiled manifest.
select digest, name, graph, source from manifests where digest = ?

-- name: reuse_slot
-- The step whose success is the newest of a key. Asked for every step; most have none, and each table of a join costs as much again.
select step from reuse where slot = ?

-- name: reusable
-- A success: the step, with the event that holds the result.
select r.run, s.node, s.state, s.attempt, s.key, s.producer, e.data, e.at
from steps s
join runs r on r.n = s.id >> 32
join events e on e.id = (r.n << 32) + s.result_seq
where s.id = ? and s.result_seq is not null

-- name: has_reusable
-- Whether anything of this manifest can be reused, as a run or as a sub-run: each has an index, both together have none.
select exists (
    select 1 from runs r join steps s on s.id between r.n << 32 and (r.n << 32) + 4294967295
    where r.parent is null and r.name = ?1 and s.key is not null and s.result_seq is not null
) or exists (
    select 1 from runs r join steps s on s.id between r.n << 32 and (r.n << 32) + 4294967295
    where r.parent is not null and r.name = ?1 and s.key is not null and s.result_seq is not null
)

-- name: past
-- The root of a tree: its state, and whether it is the newest run of its task (superseded ones do not count).
select r.state, r.state <> 'superseded' and not exists (
    select 1 from runs o where o.parent is null and o.task = r.task and o.n > r.n and o.state <> 'superseded')
from runs r where r.run = ? and r.parent is null

-- name: runs_of_tree
-- Number, id and manifest name of the runs of a tree.
select n, run, name from runs where root = ?

-- name: held
-- Leases that somebody took and has not given back.
select l.root, l.epoch, o.owner, o.host, o.pid, o.pid_start, o.heartbeat
from roots l join owners o on o.owner = l.owner

-- name: names_within_reach
-- Names of the manifests that a tree runs or may call.
with recursive reach (digest, name) as (
    select manifest, name from runs where root = ?
    union
    select c.value, c.key from reach
    join manifests m on m.digest = reach.digest
    join json_each(case when json_valid(m.graph) then m.graph else '{}' end, '$.callees') c
)
select distinct name from reach

-- name: forget_events
-- The record of a run.
delete from events where id between ?1 << 32 and (?1 << 32) + 4294967295

-- name: forget_steps
-- The steps of a run.
delete from steps where id between ?1 << 32 and (?1 << 32) + 4294967295

-- name: forget_attempts
-- The attempts of a run.
delete from attempts where id between ?1 << 32 and (?1 << 32) + 4294967295

-- name: forget_reuse
-- What others may have reused of some runs (their numbers, as a JSON list).
delete from reuse where step >> 32 in (select value from json_each(?))

-- name: forget_money
-- What a run and its steps have spent; what was spent on a day stays.
delete from ledger where scope in ('run', 'step') and (scope_id = ?1 or scope_id between ?1 || '/' and ?1 || '/' || char(1114111))

-- name: forget_caps
-- The caps of a run and its steps.
delete from caps where scope in ('run', 'step') and (scope_id = ?1 or scope_id between ?1 || '/' and ?1 || '/' || char(1114111))

-- name: forget_inbox
-- Messages for a tree.
delete from inbox where root = ?

-- name: forget_lease
-- The lease of a tree.
delete from roots where root = ?

-- name: forget_runs
-- The runs of a tree.
delete from runs where root = ?

-- name: ends_of_runs
-- The newest event of each run.
select run, n, coalesce((select max(id) from events where id between n << 32 and (n << 32) + 4294967295), n << 32) from runs

-- name: named_results
-- The large results that events name, from one id to another.
select distinct json_extract(data, '$.result.ref') from events
where id > ? and id <= ? and case when instr(data, '"ref"') and json_valid(data)
    then json_extract(data, '$.result.ref') is not null end

-- name: outputs
-- All large results.
select digest from outputs

-- name: delete_output
-- A large result that nobody names.
delete from outputs where digest = ? returning size

-- name: delete_manifests
-- Manifests that no run has or may call.
with recursive reach (digest) as (
    select manifest from runs
    union
    select c.value from reach
    join manifests m on m.digest = reach.digest
    join json_each(case when json_valid(m.graph) then m.graph else '{}' end, '$.callees') c
)
delete from manifests where digest not in (select digest from reach)

-- name: delete_owners
-- Processes that hold nothing and were not heard of since.
delete from owners where heartbeat < ? and owner not in (select owner from roots where owner is not null)
