"""The tools that look at manifests and start nothing: validate, plan, route."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from runner.api import planning, routes, routing
from runner.api.request import Request
from runner.bridges.stdio import Call
from runner.clock import SystemClock
from runner.diagnostics.render import to_json
from runner.mcp_server.desk import Desk, Reply
from runner.mcp_server.manifests import loaded_of, valid


def validate(desk: Desk, given: Mapping[str, Any], call: Call) -> Reply:
    loaded = loaded_of(desk, given)
    return Reply(to_json(loaded.diagnostics, loaded.files))


def plan(desk: Desk, given: Mapping[str, Any], call: Call) -> Reply:
    loaded = valid(loaded_of(desk, given))
    request = Request(values=given.get("inputs", {}), mode=given.get("mode"))
    with desk.reading() as store:
        return Reply(planning.plan_json(planning.plan(loaded, desk.settings, store, request, SystemClock())))


def route(desk: Desk, given: Mapping[str, Any], call: Call) -> Reply:
    loaded = valid(loaded_of(desk, given))
    graph, step = routes.find_step([entry.graph for entry in loaded.manifests], given["step"])
    inputs = planning.inputs_for(graph, Request(values=given.get("inputs", {})))
    with desk.reading() as store:
        now = SystemClock().now()
        outlook = routing.outlook(desk.settings, os.environ, store.health, now, given.get("mode"))
        ways = routes.Router.of(desk.settings.config, outlook).ways(graph, step, inputs)
    return Reply(routes.route_json(graph, step, ways, outlook))
