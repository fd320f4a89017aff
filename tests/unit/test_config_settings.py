"""Which config holds: search, precedence, origins, and what is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.api.settings import Settings, load_config, show
from runner.errors import UsageError

ROOT = Path(__file__).parent.parent.parent


def write(folder: Path, text: str, name: str = "config.yaml") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    return folder / name


def load(start: Path, **env: str) -> Settings:
    return load_config(None, start=start, env=env)


def rules(settings: Settings) -> list[str]:
    return [diagnostic.rule for diagnostic in settings.diagnostics]


def test_without_a_file_the_defaults_hold(tmp_path: Path) -> None:
    settings = load(tmp_path)
    assert settings.ok and settings.file is None and settings.origins == {}
    assert settings.project_root == tmp_path and settings.workspace == tmp_path
    assert settings.state_path == tmp_path / ".ares" / "state.db"
    assert set(settings.config.mcp_servers) == {"workspace"}


def test_config_is_found_beside_the_nearest_ares(tmp_path: Path) -> None:
    file = write(tmp_path, "concurrency: {runs: 2}")
    (tmp_path / ".ares").mkdir()
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    settings = load(inner)
    assert (settings.file, settings.project_root, settings.config.concurrency.runs) == (file, tmp_path, 2)


def test_the_flag_wins_over_the_variable_and_the_search(tmp_path: Path) -> None:
    write(tmp_path, "concurrency: {runs: 1}")
    named = write(tmp_path, "concurrency: {runs: 2}", "two.yaml")
    write(tmp_path, "concurrency: {runs: 3}", "three.yaml")
    assert load(tmp_path, RUNNER_CONFIG="three.yaml").config.concurrency.runs == 3
    settings = load_config(named, start=tmp_path, env={"RUNNER_CONFIG": "three.yaml"})
    assert settings.config.concurrency.runs == 2


def test_a_named_file_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no config file missing\.yaml"):
        load_config(Path("missing.yaml"), start=tmp_path, env={})


def test_paths_are_relative_to_the_project_root_wherever_the_file_lies(tmp_path: Path) -> None:
    elsewhere = write(tmp_path / "etc", "workspace: work\nstate: {path: db/s.db}", "ci.yaml")
    project = tmp_path / "project"
    write(project / ".git", "ref: refs/heads/main", "HEAD")
    settings = load_config(elsewhere, start=project, env={})
    assert settings.project_root == project
    assert settings.workspace == project / "work"
    assert settings.state_path == project / "db" / "s.db"


@pytest.mark.parametrize("name", [".ares/x", "config.yaml", ".git/HEAD"])
def test_what_anybody_may_have_put_above_us_is_not_ours(tmp_path: Path, name: str) -> None:
    shared = tmp_path / "shared"
    start = shared / "mine" / "here"
    start.mkdir(parents=True)
    write((shared / name).parent, "mcp_servers: {evil: {command: sh}}", Path(name).name)
    assert load(start).project_root == shared
    shared.chmod(0o1777)
    found = load(start)
    assert (found.project_root, found.file) == (start, None)
    assert load(shared).project_root == shared, "who works there himself knows what he does"


def test_the_project_root_is_the_nearest_ares_then_config_then_git(tmp_path: Path) -> None:
    start = tmp_path / "git" / "conf" / "ares" / "here"
    start.mkdir(parents=True)
    (tmp_path / "git" / "conf" / ".git").mkdir()  # an empty one is no repository
    assert load(start).project_root == start
    write(tmp_path / "git", "gitdir: elsewhere", ".git")
    assert load(start).project_root == tmp_path / "git"
    write(tmp_path / "git" / "conf", "budget: {}")
    assert load(start).project_root == tmp_path / "git" / "conf"
    (tmp_path / "git" / "conf" / "ares" / ".ares").mkdir()
    assert load(start).project_root == tmp_path / "git" / "conf" / "ares"


def test_somebody_elses_config_further_up_is_passed_over(tmp_path: Path) -> None:
    write(tmp_path, "services: {}")
    (tmp_path / "project").mkdir()
    settings = load(tmp_path / "project")
    assert settings.file is None and settings.project_root == tmp_path / "project"


def test_somebody_elses_config_in_our_place_is_named(tmp_path: Path) -> None:
    write(tmp_path, "services: {web: {}}")
    (diagnostic,) = load(tmp_path).diagnostics
    assert diagnostic.rule == "config-foreign" and "--config" in (diagnostic.fix or "")
    assert (diagnostic.file, diagnostic.span and diagnostic.span.line) == ("config.yaml", 1)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("ares: v1\nname: a", "config-manifest"),
        ("budget: {}\n---\nrouter: {}", "config-documents"),
        ("- a\n- b", "config-foreign"),
        ("budget: {per_run_usd: 1", "yaml-syntax"),
        ("budget: {per_run: 1}", "unknown-key"),
        ("router: {agents: [nobody]}", "config-unknown-executor"),
    ],
)
def test_mistakes_of_the_file_are_diagnostics_in_their_place(tmp_path: Path, text: str, rule: str) -> None:
    write(tmp_path, text)
    settings = load(tmp_path)
    assert rules(settings) == [rule] and not settings.ok
    assert settings.diagnostics[0].span is not None
    assert set(settings.config.mcp_servers) == {"workspace"}, "the default config stands in"


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "---\n"])
def test_an_empty_file_holds_the_defaults(tmp_path: Path, text: str) -> None:
    write(tmp_path, text)
    settings = load(tmp_path)
    assert settings.ok and settings.diagnostics == ()


def test_flags_win_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    write(tmp_path, "budget: {per_run_usd: 1, per_day_usd: 1, exceed: fail}\nstate: {keep: 1d}")
    env = {"RUNNER_BUDGET__PER_RUN_USD": "2", "RUNNER_BUDGET__PER_DAY_USD": "2"}
    settings = load_config(None, start=tmp_path, env=env, overrides={"budget.per_run_usd": 3, "state.path": None})
    budget = settings.config.budget
    assert (budget.per_run_usd, budget.per_day_usd, budget.exceed) == (3, 2, "fail")
    assert settings.origins == {
        "budget.per_run_usd": "flag",
        "budget.per_day_usd": "environment RUNNER_BUDGET__PER_DAY_USD",
        "budget.exceed": "config.yaml:1",
        "state.keep": "config.yaml:2",
    }


def test_a_variable_finds_an_entry_whose_name_has_a_hyphen(tmp_path: Path) -> None:
    write(tmp_path, "mcp_servers: {claude-code: {preset: claude-code}}")
    settings = load(tmp_path, RUNNER_MCP_SERVERS__CLAUDE_CODE__MAX_IN_FLIGHT="9")
    assert settings.ok and settings.config.mcp_servers["claude-code"].max_in_flight == 9


def test_a_variable_may_hold_a_list(tmp_path: Path) -> None:
    settings = load(tmp_path, RUNNER_POLICY__TOOLS__DENY="[a.*, b.*]", RUNNER_POLICY__RUN="deny")
    assert settings.config.policy.tools.deny == ("a.*", "b.*") and settings.config.policy.run == "deny"


def test_a_secret_in_a_variable_stays_there(tmp_path: Path) -> None:
    settings = load(tmp_path, RUNNER_GITHUB_KEY="correct-horse-battery", RUNNER_SECRETS__MY_TOKEN="another-secret")
    assert settings.ok
    assert settings.config.github_key == "${RUNNER_GITHUB_KEY}"
    assert settings.config.secrets == {"MY_TOKEN": "${RUNNER_SECRETS__MY_TOKEN}"}
    assert "horse" not in repr(settings) and "another" not in repr(show(settings))


def test_variables_of_ci_systems_are_left_alone(tmp_path: Path) -> None:
    settings = load(
        tmp_path, RUNNER_OS="Linux", RUNNER_WORKSPACE="/home/x", RUNNER_TEMP="/tmp", RUNNER_NAME="x", RUNNER_A__B="1"
    )
    assert settings.ok and settings.diagnostics == () and settings.origins == {}


def test_a_mistake_in_a_variable_or_flag_names_it(tmp_path: Path) -> None:
    write(tmp_path, "budget: {exceed: fail}")
    settings = load_config(
        None, start=tmp_path, env={"RUNNER_BUDGET__PER_RUN": "2"}, overrides={"concurrency.runs": 0, "timezone.x": 1}
    )
    assert sorted((one.file, one.rule, one.path) for one in settings.diagnostics) == [
        ("environment RUNNER_BUDGET__PER_RUN", "unknown-key", "budget.per_run"),
        ("flag", "config-bound", "concurrency.runs"),
        ("flag", "wrong-type", "timezone"),
    ]
    assert all(one.span is None for one in settings.diagnostics)


def test_loading_resolves_no_secret(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_bytes((ROOT / "config.yaml.example").read_bytes())
    settings = load(tmp_path)
    assert settings.ok and settings.diagnostics == ()
    assert settings.config.mcp_servers["openclaw"].token == "${OPENCLAW_GATEWAY_TOKEN}"


def test_show_gives_every_value_with_its_origin_and_masks_what_may_be_secret(tmp_path: Path) -> None:
    text = 'mcp_servers: {x: {command: x, env: {DB_PASSWORD: hunter2-hunter2, TOKEN: "${T}", LOG: debug}}}\nstate: {keep: 90m}'
    write(tmp_path, text)
    shown = {key: (value, origin) for key, value, origin in show(load(tmp_path))}
    assert shown["mcp_servers.x.env.DB_PASSWORD"] == ("***", "config.yaml:1")
    assert shown["mcp_servers.x.env.TOKEN"] == ("${T}", "config.yaml:1")
    assert shown["mcp_servers.x.env.LOG"] == ("debug", "config.yaml:1")
    assert shown["state.keep"] == ("90m", "config.yaml:2")
    assert shown["fault_handler.window"] == ("1m", "default")
    assert shown["mcp_servers.x.idle_timeout"] == ("5m", "default")
    assert shown["mcp_servers.x.local"] == ("true", "default")
    assert shown["policy.tools.allow"] == ("[*]", "default")
    assert shown["mcp_servers.workspace.args"][0].endswith("runner.bridges.workspace]")
    assert "hunter2" not in str(shown)
