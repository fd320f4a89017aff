-- Statements about modes, circuits and money, by name. Read by health.py and money.py.

-- name: modes
-- The newest modes, each with its reason.
select m.epoch, m.mode, m.since, m.pinned_until, coalesce(t.value, '')
from modes m left join meta t on t.key = 'mode:' || m.epoch order by m.epoch desc limit ?

-- name: add_mode
-- The next mode, if nobody was faster.
insert into modes (mode, epoch, since, pinned_until)
select ?1, ?2 + 1, ?3, ?4 where coalesce((select max(epoch) from modes), 0) = ?2 returning epoch

-- name: put_mode_reason
-- Why a mode was entered.
insert or replace into meta (key, value) values ('mode:' || ?, ?)

-- name: forget_modes
-- Old history.
delete from modes where epoch <= ?

-- name: forget_mode_reasons
-- The reasons of old history.
delete from meta where key >= 'mode:' and key < 'mode;' and cast(substr(key, 6) as integer) <= ?

-- name: circuits
-- Everything that ever failed.
select endpoint, state, failures, opened, until, epoch from circuits order by endpoint

-- name: add_circuit
-- The first change of a circuit, if nobody was faster.
insert into circuits (endpoint, state, failures, opened, until, epoch) values (?, ?, ?, ?, ?, 1)
on conflict do nothing returning epoch

-- name: change_circuit
-- The next change of a circuit, if nobody was faster.
update circuits set state = ?2, failures = ?3, opened = ?4, until = ?5, epoch = epoch + 1
where endpoint = ?1 and epoch = ?6 returning epoch

-- name: samples
-- The newest ended attempts of some executors or models (a JSON list) in runs made since then.
select executor, model, state = 'succeeded', class, ended, ended - started, cost from attempts
where id >= coalesce((select min(n) from runs where created >= ?2), 2147483647) << 32
    and state in ('succeeded', 'failed') and ended is not null
    and (executor in (select value from json_each(?1)) or model in (select value from json_each(?1)))
order by id desc limit ?3

-- name: put_cap
-- The cap of a scope; its money so far, when it had none before.
insert into caps (scope, scope_id, cap, held, spent)
select ?1, ?2, ?3, coalesce(sum(held), 0), coalesce(sum(spent), 0) from ledger where scope = ?1 and scope_id = ?2
on conflict (scope, scope_id) do update set cap = excluded.cap

-- name: drop_cap
-- A scope has no cap any more.
delete from caps where scope = ? and scope_id = ?

-- name: hold
-- Reserve in a scope that has a cap, if there is room.
update caps set held = held + ?3 where scope = ?1 and scope_id = ?2 and (?3 = 0 or spent + held + ?3 <= cap) returning cap

-- name: move_money
-- What a scope with a cap holds and has spent changes by so much.
update caps set held = held + ?3, spent = spent + ?4 where scope = ?1 and scope_id = ?2

-- name: cap
-- The money of a scope that has a cap.
select cap, held, spent from caps where scope = ? and scope_id = ?

-- name: sums
-- The money of any scope.
select coalesce(sum(held), 0), coalesce(sum(spent), 0) from ledger where scope = ? and scope_id = ?

-- name: entry
-- What an attempt holds or has cost in a scope.
select held, source from ledger where id = ?

-- name: put_entry
-- What an attempt holds or has cost in a scope.
insert or replace into ledger (id, scope, scope_id, attempt, held, spent, source) values (?, ?, ?, ?, ?, ?, ?)

-- name: delete_entry
-- An attempt that never started.
delete from ledger where id = ?

-- name: spending_by_step
-- What the steps of each manifest have cost.
select r.name || '/' || case when instr(a.node, '[') then substr(a.node, 1, instr(a.node, '[') - 1) else a.node end,
    sum(a.cost), sum(iif(a.cost_source = 'assumed', a.cost, 0)), count(*)
from attempts a join runs r on r.n = a.id >> 32
where (?1 is null or r.root = ?1) and (?2 is null or a.started >= ?2) group by 1 order by 2 desc, 1

-- name: spending_by_executor
-- What the attempts of each executor have cost.
select a.executor, sum(a.cost), sum(iif(a.cost_source = 'assumed', a.cost, 0)), count(*)
from attempts a join runs r on r.n = a.id >> 32
where a.executor <> '' and (?1 is null or r.root = ?1) and (?2 is null or a.started >= ?2) group by 1 order by 2 desc, 1

-- name: spending_by_model
-- What the attempts of each model have cost.
select a.model, sum(a.cost), sum(iif(a.cost_source = 'assumed', a.cost, 0)), count(*)
from attempts a join runs r on r.n = a.id >> 32
where a.model <> '' and (?1 is null or r.root = ?1) and (?2 is null or a.started >= ?2) group by 1 order by 2 desc, 1

-- name: days
-- What was settled on each day.
select scope_id, sum(spent), sum(iif(source = 'assumed', spent, 0)), count(*)
from ledger where scope = 'day' and scope_id >= ? and source <> '' group by 1 order by 1
