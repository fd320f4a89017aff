"""How an OpenClaw gateway stands: up, asleep, or gone; and whether it takes our token. No task is begun."""

from __future__ import annotations

import http.client
from pathlib import Path

from runner.bridges.check import Check
from runner.bridges.gateway import Exchange, Failed, Gateway
from runner.bridges.stdio import Call
from runner.bridges.task import Task

MODELS = "/v1/models"
"""Needs the token, costs nothing, and is there as long as chat completions are."""
TOKEN = "OPENCLAW_GATEWAY_TOKEN"
_SWITCH = "set gateway.http.endpoints.chatCompletions.enabled in its openclaw.json, and start it again"


def looked_at(gateway: Gateway) -> Check:
    """Asks it for its models; one that may sleep is asked first whether it is up, which wakes it."""
    exchange = Exchange(gateway, Task("-", Path()), Call({}, lambda message: None))
    try:
        if gateway.probe is not None and (state := exchange.probed(gateway.probe)) != "running":
            return Check(
                reachable=None, detail=f"it is starting: {state}", fix="it was woken; ask again in a minute or two"
            )
        status, _ = exchange.get(MODELS)
    except Failed as failed:
        unasked = failed.problem.kind == "invalid"
        return Check(
            reachable=None if unasked else True,
            logged_in=False,
            detail=failed.problem.message,
            fix="check its token and headers",
        )
    except (OSError, http.client.HTTPException) as error:
        fix = "is the url right?" if gateway.probe else "start it with `openclaw gateway`, or correct the url"
        return Check(reachable=False, detail=f"cannot reach {gateway.url}: {error}", fix=fix)
    return _by_status(gateway, status)


def _by_status(gateway: Gateway, status: int) -> Check:
    if status == 200:
        return Check(reachable=True, logged_in=True)
    if status in (401, 403):
        what = "it refuses the token" if gateway.token else "it wants a token"
        return Check(
            reachable=True,
            logged_in=False,
            detail=what,
            fix=f"give its entry `token`, or start the bridge with {TOKEN}",
        )
    if status == 404:
        return Check(reachable=True, detail="it does not offer chat completions", fix=_SWITCH)
    return Check(reachable=True, detail=f"it answers with HTTP {status}", fix="look at its log")
