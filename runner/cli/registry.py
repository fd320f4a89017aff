"""Every verb: where it lives, and its line in `runner --help`. Modules are imported when their verb is used."""

from typing import NamedTuple


class Verb(NamedTuple):
    """`module` has a click command named `command`; `help` is shown without importing it."""

    module: str
    help: str


VERBS: dict[str, Verb] = {
    "init": Verb("runner.cli.commands.init", "Begin a project: config.yaml, a first manifest, .gitignore."),
    "validate": Verb("runner.cli.commands.validate", "Find every mistake of every manifest at once."),
    "plan": Verb("runner.cli.commands.plan", "Show what apply would do, and why."),
    "apply": Verb("runner.cli.commands.apply", "Converge: run what is new or changed, resume what is unfinished."),
    "watch": Verb("runner.cli.commands.watch", "Run a folder: what changed, what is due, what may go on."),
    "resume": Verb("runner.cli.commands.resume", "Go on with one run."),
    "cancel": Verb("runner.cli.commands.cancel", "End one run as cancelled."),
    "resolve": Verb("runner.cli.commands.resolve", "Say what became of a step whose outcome is unknown."),
    "approve": Verb("runner.cli.commands.approve", "Say yes to a step that waits for a person."),
    "reject": Verb("runner.cli.commands.reject", "Say no to a step that waits for a person."),
    "status": Verb("runner.cli.commands.status", "List the runs and how they stand."),
    "show": Verb("runner.cli.commands.show", "Show one run: steps, attempts, outputs."),
    "logs": Verb("runner.cli.commands.logs", "Print what the attempts of a run wrote."),
    "events": Verb("runner.cli.commands.events", "Print what is recorded of a run, or follow it."),
    "diff": Verb("runner.cli.commands.diff", "Show what is different between two runs."),
    "cost": Verb("runner.cli.commands.cost", "Say what was spent, and what the caps leave."),
    "graph": Verb("runner.cli.commands.graph", "Draw the step graph of a manifest or a run."),
    "report": Verb("runner.cli.commands.report", "Write one run as a page for a browser."),
    "route": Verb("runner.cli.commands.route", "Say who would do a step, and why."),
    "mode": Verb("runner.cli.commands.mode", "Show or set the system's mode; ask the endpoints now."),
    "simulate": Verb("runner.cli.commands.simulate", "Show what would happen under faults; nothing real is called."),
    "schema": Verb("runner.cli.commands.schema", "Print or write the JSON Schemas."),
    "test": Verb("runner.cli.commands.test", "Test pipelines: run suites from recorded answers, or record them."),
    "generate": Verb("runner.cli.commands.generate", "Make manifests from a template and rows of data."),
    "fmt": Verb("runner.cli.commands.fmt", "Write manifests in their usual form."),
    "config": Verb("runner.cli.commands.config", "Show the configuration and where each value came from."),
    "explain": Verb("runner.cli.commands.explain", "Explain a key, a rule, an error class or an exit code."),
    "mcp": Verb("runner.cli.commands.mcp", "This runner as an MCP server, for agents."),
    "executors": Verb("runner.cli.commands.executors", "List everything that can do work."),
    "tools": Verb("runner.cli.commands.tools", "List the tools of an MCP server."),
    "doctor": Verb("runner.cli.commands.doctor", "Say whether everything that is configured works."),
    "demo": Verb("runner.cli.commands.demo", "Watch an outage from beginning to end, without keys."),
    "completion": Verb("runner.cli.commands.completion", "Print the script that completes `runner` in a shell."),
    "gc": Verb("runner.cli.commands.gc", "Remove what ended long ago from the state."),
}

ALIASES = {"ps": "status"}
