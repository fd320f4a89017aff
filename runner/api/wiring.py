"""Wiring: the only module that knows which concrete classes stand behind the ports."""

import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

from runner.api.app import App
from runner.api.dispatching import Hooks, Routing, enter_routing
from runner.api.facts import operator_policy
from runner.api.late import Late
from runner.api.late_servers import LateServers
from runner.api.secrets import SecretSource
from runner.api.settings import Settings
from runner.clock import Clock
from runner.core.prepare import Preparer
from runner.core.slots import Slots
from runner.engine.attempt import Attempts, Limits, Places
from runner.engine.attend import Attended
from runner.engine.blobs import Blobs
from runner.engine.driver import Engine
from runner.engine.health import Probe
from runner.engine.world import EngineWorld
from runner.executors.given import GivenResults
from runner.executors.local import LocalCommands
from runner.llms.judge import ModelJudge
from runner.llms.spec import catalog
from runner.manifest.config import Config
from runner.manifest.vocabulary import Mode
from runner.ports import Executor, OwnerId, ServerPool, Sink, Store
from runner.store.owners import this_process
from runner.store.sqlite import SqliteStore
from runner.transports.local import LocalTransport, Step

if TYPE_CHECKING:
    from runner.executors.agent_spec import AgentSpec
    from runner.executors.mcp import McpServers

Wrap = Callable[[Mapping[str, Executor]], Mapping[str, Executor]]


def open_store(settings: Settings, clock: Clock, *, read_only: bool = False) -> SqliteStore:
    """The state database of these settings. Raises the StoreError family."""
    durability = settings.config.state.durability
    return SqliteStore.open(settings.state_path, durability=durability, clock=clock, read_only=read_only)


@asynccontextmanager
async def open_app(
    settings: Settings,
    *,
    sinks: Sequence[Sink],
    clock: Clock,
    jobs: int | None = None,
    mode: Mode | None = None,
    env: Mapping[str, str] | None = None,
    store: Store | None = None,
    wrap: Wrap = lambda executors: executors,
    pool: Callable[[ServerPool], ServerPool] = lambda servers: servers,
    probe: Callable[[Probe], Probe] = lambda probe: probe,
    step: Callable[[Step], Step] = lambda step: step,
    on_warning: Callable[[str], None] = lambda text: None,
) -> AsyncIterator[App]:
    """The application, alive; on leaving, nothing that it started is left. `store`: the record to use instead of the settings'
    database; it is the caller's to close. `mode`: holds in this process whatever circuits say. `wrap`: what stands in for the
    executors, by verb; `pool`, for the servers that are asked what is open and what their tools do; `probe`, for what asks endpoints and
    executors whether they are there; `step`, for the whole of an attempt. `on_warning` is told, in one line each, what a person should look at and no run fails of. Raises the StoreError
    family."""
    given, store = store, store or open_store(settings, clock)
    async with AsyncExitStack() as stack:
        if given is None:
            stack.callback(store.close)
        yield await _wired(
            stack,
            settings,
            store,
            Wishes(sinks, clock, jobs, mode, wrap, pool, probe, step, on_warning),
            env if env is not None else os.environ,
        )


class Wishes(NamedTuple):
    """What the caller of `open_app` wants."""

    sinks: Sequence[Sink]
    clock: Clock
    jobs: int | None
    mode: Mode | None
    wrap: Wrap
    pool: Callable[[ServerPool], ServerPool]
    probe: Callable[[Probe], Probe]
    step: Callable[[Step], Step]
    on_warning: Callable[[str], None]


async def _wired(
    stack: AsyncExitStack, settings: Settings, store: Store, wishes: Wishes, env: Mapping[str, str]
) -> App:
    config, clock, folder = settings.config, wishes.clock, settings.state_path.parent
    slots = Slots(wishes.jobs or config.concurrency.runs * config.concurrency.steps)
    blobs, secrets, owner = Blobs(store.blob), SecretSource(config, env), this_process()
    servers = _servers(stack, settings, secrets, owner, clock, wishes.on_warning)
    pool = wishes.pool(servers)
    world = EngineWorld(
        store=store,
        blobs=blobs,
        servers=pool,
        slots=slots,
        workspace=settings.workspace,
        run_dirs=folder / "runs",
        secrets=config.secrets,
        on_lane=lambda lane: engine.poke(lane),
    )
    routed = await enter_routing(
        stack,
        settings,
        env,
        store,
        clock,
        servers=pool,
        sessions=world,
        pinned=wishes.mode,
        hooks=Hooks(lambda lane: engine.poke(lane), lambda mode: engine.mode_changed(mode), wishes.on_warning),
        instead_of_probe=wishes.probe,
    )
    models = Late("model", lambda made: made(catalog(config.models, env), clock=clock))
    executors = _executors(stack, config, wishes, routed, servers, models)
    attempts = Attempts(
        executors=executors,
        places=Places(settings.workspace, folder / "runs", folder / "logs"),
        secrets=secrets.get,
        redactor=secrets.redactor(),
        blobs=blobs.keep,
        judge=ModelJudge(executors["model"]),
        limits=Limits(output=config.limits.output_bytes),
        progress=lambda run, node, text: engine.progress(run, node, text),
    )
    engine = Engine(
        store=store,
        transport=LocalTransport(wishes.step(attempts.run)),
        slots=slots,
        blobs=blobs,
        clock=clock,
        owner=owner,
        sinks=wishes.sinks,
        better_at=routed.keeper.better_at,
        on_settled=routed.funds.came_back,
    )
    await stack.enter_async_context(engine)
    host = Preparer(world, operator_policy(config), routed.dispatch)
    return App(
        settings,
        store,
        engine,
        slots,
        host,
        attempts,
        routed.keeper,
        routed.roster,
        routed.funds,
        clock,
        models.prefetch,
    )


def _executors(
    stack: AsyncExitStack, config: Config, wishes: Wishes, routed: Routing, servers: LateServers, models: Executor
) -> dict[str, Executor]:
    """Who does the work, by verb. What a call of a model or an agent says of its endpoint counts whoever gave the answer."""
    asked = wishes.wrap(
        {
            "tool": servers,
            "run": LocalCommands(output_bytes=config.limits.output_bytes),
            "call": GivenResults(),
            "model": models,
            "agent": Late("agent", lambda made: made(servers.made, _agents(config), clock=wishes.clock)),
        }
    )
    for executor in asked.values():
        stack.push_async_callback(executor.close)
    return {
        **asked,
        "model": Attended(asked["model"], "model", routed, wishes.clock),
        "agent": Attended(asked["agent"], "agent", routed, wishes.clock),
    }


def _agents(config: Config) -> "Mapping[str, AgentSpec]":
    from runner.api.servers import agent_specs

    return agent_specs(config)


def _servers(
    stack: AsyncExitStack,
    settings: Settings,
    secrets: SecretSource,
    owner: OwnerId,
    clock: Clock,
    on_warning: Callable[[str], None],
) -> LateServers:
    """The sessions; servers that an earlier runner left behind are ended first."""
    folder = settings.state_path.parent
    if (folder / "servers").is_dir():
        import_module("runner.executors.orphans").reap(folder / "servers", owner.host, clock.now())
    stack.push_async_exit(ending := AsyncExitStack())

    def make() -> "McpServers":
        from runner.api.servers import server_specs
        from runner.executors.mcp import McpServers, ProcessId
        from runner.executors.orphans import Orphans
        from runner.executors.tools_lock import ToolsLock

        orphans = Orphans(folder / "servers", ProcessId(owner.pid, owner.pid_start), owner.host)
        servers = McpServers(
            server_specs(settings, secrets.env),
            on_process=orphans.note,
            on_tools=ToolsLock(folder, on_warning).seen,
            output_bytes=settings.config.limits.output_bytes,
        )
        ending.callback(orphans.forget)
        ending.push_async_callback(servers.close)
        return servers

    return LateServers({name: server.max_in_flight for name, server in settings.config.mcp_servers.items()}, make)
