"""The style sheet of drawings: colours of states and verbs in light and dark. Plain classes, no variables: more viewers know them."""

from __future__ import annotations

from collections.abc import Mapping

LIGHT: Mapping[str, str] = {
    "page": "#ffffff", "ink": "#1c2024", "muted": "#5f6773", "card": "#ffffff", "line": "#c9ced6", "edge": "#7d8590", "rule": "#d5d9e0",
    "on": "#ffffff",
}  # fmt: skip
DARK: Mapping[str, str] = {
    "page": "#0f1318", "ink": "#e8ebef", "muted": "#98a1ad", "card": "#181d24", "line": "#3a424d", "edge": "#76808c", "rule": "#2b323b",
    "on": "#0f1318",
}  # fmt: skip

# (light, light tint of the box, dark, dark tint)
STATES: Mapping[str, tuple[str, str, str, str]] = {
    "succeeded": ("#1f8f4e", "#f0faf3", "#4cc27f", "#14241b"),
    "reused": ("#0e8aa0", "#edf8fa", "#45b9cf", "#11232a"),
    "running": ("#2767d8", "#eff5ff", "#6ea3ff", "#142036"),
    "group": ("#2767d8", "#eff5ff", "#6ea3ff", "#142036"),
    "waiting": ("#5a78c9", "#f2f5fd", "#92a9ea", "#191f33"),
    "suspended": ("#8a48c9", "#f8f2fd", "#bb8cf0", "#221a30"),
    "failed": ("#cf2f3c", "#fef1f1", "#f2747c", "#2c1619"),
    "blocked": ("#b3720b", "#fdf6e9", "#dba345", "#29200f"),
    "cancelled": ("#9a6a2f", "#fbf5ed", "#c79a63", "#262015"),
    "skipped": ("#8d949e", "#f6f7f8", "#7c858f", "#171b20"),
    "pending": ("#b4bac3", "#ffffff", "#59626d", "#181d24"),
}
_VERBS: Mapping[str, tuple[str, str]] = {
    "tool": ("#2767d8", "#6ea3ff"),
    "agent": ("#8a48c9", "#bb8cf0"),
    "model": ("#c23a86", "#ef86bd"),
    "run": ("#1f8f4e", "#4cc27f"),
    "call": ("#c2641a", "#eb9a58"),
    "approve": ("#b58a00", "#e0bd45"),
    "wait": ("#5f6773", "#98a1ad"),
    "set": ("#0e8aa0", "#45b9cf"),
    "fail": ("#cf2f3c", "#f2747c"),
}
ICONS: Mapping[str, str] = {
    "succeeded": "M-3 .2L-1 2.4L3 -2.2",
    "reused": "M-2.8 -1.4H2.8M-2.8 1.4H2.8",
    "running": "M-1.6 -2.6L2.6 0L-1.6 2.6Z",
    "group": "M-1.6 -2.6L2.6 0L-1.6 2.6Z",
    "waiting": "M0 -3.4V0L2.4 1.6",
    "suspended": "M-1.6 -2.6V2.6M1.6 -2.6V2.6",
    "failed": "M-2.3 -2.3L2.3 2.3M2.3 -2.3L-2.3 2.3",
    "blocked": "M-2.5 2.5L2.5 -2.5",
    "cancelled": "M-2 -2H2V2H-2Z",
    "skipped": "M-3 -2.4L-.6 0L-3 2.4M.6 -2.4L3 0L.6 2.4",
    "pending": "M0 0H.01",
}
"""The sign of each state as a path around (0, 0): fonts differ in the signs that they have."""
STATE_ORDER = tuple(STATES)
VERB_ORDER = tuple(_VERBS)

_BASE = """
.ares text{font-family:ui-sans-serif,system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
.ares .name{font-size:18px;font-weight:650}
.ares .about{font-size:12px}
.ares .small{font-size:10.5px}
.ares .id{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;font-size:13px;font-weight:600}
.ares .what{font-size:11.5px}
.ares .verb{font-weight:600}
.ares .fan{font-size:11px;font-weight:600;text-anchor:end}
.ares .sign{fill:none;stroke-width:1.7;stroke-linecap:round;stroke-linejoin:round}
.ares .card{stroke-width:1}
.ares .optional{stroke-dasharray:5 3}
.ares .divider{fill:none;stroke-width:1;stroke-dasharray:2 4}
.ares .edge path{fill:none;stroke-width:1.4}
.ares .edge .tip{stroke:none}
.ares .order path{stroke-dasharray:6 4}
.ares .state path,.ares .tolerant path{stroke-dasharray:1.5 3.5;stroke-linecap:round}
.ares .edge .tip{stroke-dasharray:none}
.ares .off{opacity:.5}
.ares .s-skipped text,.ares .s-pending text{opacity:.75}
"""


def _theme(colors: Mapping[str, str], main: int) -> str:
    c = colors
    rules = [
        f".ares .page{{fill:{c['page']}}}",
        f".ares text{{fill:{c['ink']}}}",
        f".ares .about,.ares .what,.ares .small,.ares .fan{{fill:{c['muted']}}}",
        f".ares .card{{fill:{c['card']};stroke:{c['line']}}}",
        f".ares .divider{{stroke:{c['line']}}}",
        f".ares .edge path{{stroke:{c['edge']}}}",
        f".ares .edge .tip{{fill:{c['edge']};stroke:none}}",
        f".ares .sign{{stroke:{c['on']}}}",
    ]
    for state, tones in STATES.items():
        tone, tint = tones[main], tones[main + 1]
        rules.append(f".ares .s-{state} .stripe,.ares .s-{state} .dot,.ares .p-{state}{{fill:{tone}}}")
        rules.append(f".ares .s-{state} .card{{fill:{tint};stroke:{tone}}}" if state != "pending" else "")
    for verb, pair in _VERBS.items():
        rules.append(f".ares .v-{verb} .stripe,.ares .v-{verb} .verb{{fill:{pair[main // 2]}}}")
    return "\n".join(rule for rule in rules if rule)


STYLE = f"{_BASE}{_theme(LIGHT, 0)}\n@media (prefers-color-scheme:dark){{\n{_theme(DARK, 2)}\n}}\n"
"""The whole sheet; it holds nothing of any manifest."""
