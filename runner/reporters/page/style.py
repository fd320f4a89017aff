"""The style sheet of a page: light, dark and paper. It holds nothing of any run; sizes that depend on one are attributes of pictures."""

from __future__ import annotations

from collections.abc import Mapping

from runner.reporters.svg_style import DARK, LIGHT, STATES
from runner.reporters.svg_style import STYLE as DRAWINGS

_SANS = 'ui-sans-serif,system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif'
_MONO = 'ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace'

_BASE = f"""
*{{box-sizing:border-box}}
html{{-webkit-text-size-adjust:100%;text-size-adjust:100%;scroll-padding-top:1rem}}
body{{margin:0;background:var(--ground);color:var(--ink);font:15px/1.5 {_SANS}}}
main{{max-width:74rem;margin:0 auto;padding:2rem 1.5rem 4rem}}
h1,h2,h3,h4,p,dl,dd,ul,ol,pre,table{{margin:0}}
h1{{font-size:1.75rem;line-height:1.2;font-weight:680;letter-spacing:-.015em;overflow-wrap:anywhere}}
h2{{font-size:1.05rem;font-weight:650;margin:2.25rem 0 .7rem}}
h3{{font-size:.8rem;font-weight:600;color:var(--muted);margin:.9rem 0 .3rem}}
h4{{font-size:.85rem;font-weight:600}}
a{{color:var(--link);text-decoration:none}}
a:hover{{text-decoration:underline}}
a:focus-visible,summary:focus-visible,pre:focus-visible,input:focus-visible,button:focus-visible,.gantt:focus-visible,.scroll:focus-visible{{outline:2px solid var(--link);outline-offset:2px}}
code,pre,.mono{{font-family:{_MONO};font-size:.8125rem}}
code{{overflow-wrap:anywhere}}
pre{{white-space:pre-wrap;overflow-wrap:anywhere;background:var(--well);border:1px solid var(--rule);border-radius:6px;padding:.6rem .75rem;max-height:26rem;overflow:auto;tab-size:4;unicode-bidi:isolate;line-height:1.45}}
pre.log{{border-left:3px solid var(--line)}}
.odd{{color:var(--failed);opacity:.85}}
.muted,small{{color:var(--muted)}}
small{{font-size:.8125rem}}
.unseen{{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}}
.cut{{font-size:.8125rem;color:var(--muted);margin:.25rem 0;font-style:italic}}
.skip{{position:absolute;left:-99rem}}
.skip:focus{{left:1rem;top:.5rem;background:var(--card);padding:.4rem .8rem;border-radius:6px;z-index:2}}
.sign{{flex:none;vertical-align:-3px}}
.sign path{{fill:none;stroke:var(--on);stroke-width:1.7;stroke-linecap:round;stroke-linejoin:round}}
.pill{{display:inline-flex;align-items:center;gap:.4rem;padding:.2rem .7rem .2rem .35rem;border-radius:99px;font-weight:600;font-size:.9rem;border:1px solid;white-space:nowrap}}
.card{{background:var(--card);border:1px solid var(--rule);border-radius:10px}}

header .top{{display:flex;flex-wrap:wrap;gap:.5rem 1rem;align-items:center;margin-bottom:.35rem}}
header .about{{color:var(--muted);max-width:60rem;overflow-wrap:anywhere}}
header .why{{margin-top:.5rem;font-weight:550;overflow-wrap:anywhere}}
.tiles{{display:grid;grid-template-columns:repeat(auto-fit,minmax(8rem,1fr));gap:.75rem;margin:1.25rem 0 1rem}}
.tiles div{{padding:.65rem .85rem}}
.tiles dt{{font-size:.75rem;color:var(--muted)}}
.tiles dd{{font-size:1.1rem;font-weight:600;font-variant-numeric:tabular-nums;overflow-wrap:anywhere}}
.tiles dd small{{font-weight:400;display:block}}
.share{{display:block;width:100%;height:8px;border-radius:4px;overflow:hidden}}
.legend{{display:flex;flex-wrap:wrap;gap:.25rem 1.1rem;font-size:.8125rem;color:var(--muted);margin-top:.6rem}}
.legend span{{display:inline-flex;align-items:center;gap:.4rem}}
nav{{display:flex;flex-wrap:wrap;gap:.3rem 1.1rem;margin-top:1rem;font-size:.875rem;padding-top:.7rem;border-top:1px solid var(--rule)}}
.alarm{{padding:.9rem 1.1rem;margin-top:1.25rem}}
.alarm h2{{margin:0 0 .4rem}}
.alarm ul{{list-style:none;padding:0;display:grid;gap:.6rem}}
.alarm li{{display:grid;grid-template-columns:auto 1fr;gap:0 .55rem}}
.alarm li>*{{grid-column:2;min-width:0;overflow-wrap:anywhere}}
.alarm li>.sign{{grid-column:1;grid-row:1;margin-top:3px}}
.alarm .next{{margin-top:.7rem;padding-top:.6rem;border-top:1px solid var(--rule)}}
.alarm .next:first-child{{margin:0;padding:0;border:0}}

.scroll{{overflow:auto;padding:1rem;text-align:center;max-height:46rem}}
.scroll svg{{display:inline-block;vertical-align:top}}
.ares a:hover{{text-decoration:none}}
.ares a:hover .card,.ares a:focus .card{{stroke-width:2}}
.ares a{{outline-offset:2px}}

.gantt{{--who:13rem;position:relative;display:grid;grid-template-columns:var(--who) 1fr;padding:.75rem 1rem .6rem;font-size:.8125rem}}
.gantt.tall{{max-height:38rem;overflow:auto}}
.gantt .axis{{position:absolute;left:calc(var(--who) + 1rem);top:.75rem;width:calc(100% - var(--who) - 2rem);height:calc(100% - 1.35rem);overflow:visible}}
.gantt.tall .axis{{height:20px}}
.gantt .head{{height:22px}}
.gantt .who{{display:flex;gap:.45rem;align-items:center;min-width:0;padding-right:.75rem;height:24px;position:relative}}
.gantt .who a{{overflow:hidden;text-overflow:ellipsis;white-space:nowrap;color:inherit;font-family:{_MONO}}}
.gantt .sign{{width:13px;height:13px}}
.gantt .track{{width:100%;display:block;overflow:visible;position:relative}}
.gantt text{{font:11px {_SANS};fill:var(--muted);text-anchor:middle}}
.gantt text.first{{text-anchor:start}}
.gantt .short{{font-style:italic}}
.gantt text.last{{text-anchor:end}}
.grid{{stroke:var(--rule);stroke-width:1}}
.leg{{stroke:var(--link);stroke-width:1.5;stroke-dasharray:4 3}}
.idle{{fill:var(--rule);opacity:.55}}
.axis .idle{{height:calc(100% - 20px)}}
.pause{{stroke-width:2.5}}
.l-waiting{{stroke:var(--waiting);stroke-dasharray:2 3}}
.l-suspended{{stroke:var(--suspended);stroke-dasharray:7 4}}
.b-succeeded{{fill:var(--succeeded)}}.b-failed{{fill:var(--failed)}}.b-cancelled{{fill:var(--cancelled)}}.b-lost{{fill:var(--blocked)}}.b-running{{fill:var(--running)}}
.bar{{stroke:var(--card);stroke-width:.5}}
.bar.open{{opacity:.65}}

.tools{{display:flex;gap:.5rem;margin-bottom:.6rem;flex-wrap:wrap}}
.tools[hidden]{{display:none}}
.tools input{{flex:1 1 14rem;min-width:0}}
.tools input,.tools button{{font:inherit;font-size:.875rem;padding:.3rem .7rem;border:1px solid var(--line);border-radius:6px;background:var(--card);color:inherit}}
.tools button{{cursor:pointer}}
.tools button:hover{{background:var(--well)}}
details>summary{{cursor:pointer;list-style:none}}
details>summary::-webkit-details-marker{{display:none}}
details>summary::before{{content:"";flex:none;width:.42rem;height:.42rem;border:solid var(--muted);border-width:0 1.5px 1.5px 0;transform:rotate(-45deg);margin:0 .15rem 0 .1rem}}
details[open]>summary::before{{transform:rotate(45deg) translate(-1px,-1px)}}
.steps{{overflow:hidden}}
.unit{{border-top:1px solid var(--rule)}}
.many>.unit{{content-visibility:auto;contain-intrinsic-size:auto 2.6rem}}
.unit:first-child{{border-top:0}}
.unit>summary{{display:flex;gap:.55rem;align-items:center;padding:.5rem .9rem;min-width:0}}
.unit>summary:hover{{background:var(--well)}}
.unit:target>summary{{background:var(--well);box-shadow:inset 3px 0 var(--link)}}
.unit .name{{font-family:{_MONO};font-size:.84rem;font-weight:600;overflow-wrap:anywhere}}
.unit .what{{color:var(--muted);font-size:.8125rem;flex:1 1 8rem;min-width:0;overflow:hidden;text-overflow:ellipsis;white-space:nowrap}}
.unit .word{{font-size:.8125rem;font-weight:550;white-space:nowrap}}
.unit .c-pending,.unit .c-skipped,.part .c-pending{{color:var(--muted)}}
.unit .end{{display:flex;gap:.9rem;margin-left:auto;font-size:.8125rem;color:var(--muted);font-variant-numeric:tabular-nums;white-space:nowrap;justify-content:flex-end}}
.body{{padding:.1rem 1rem 1rem 2.3rem;display:grid;grid-template-columns:minmax(0,1fr)}}
.body .unit{{border-color:var(--rule)}}
.body .unit .body{{padding-left:1.9rem}}
.reason{{font-weight:500;overflow-wrap:anywhere;margin-top:.25rem}}
.facts{{display:grid;grid-template-columns:max-content minmax(0,1fr);gap:.15rem 1rem;font-size:.84rem;margin-top:.3rem}}
.facts dt{{color:var(--muted)}}
.facts dd{{overflow-wrap:anywhere}}
.try{{border:1px solid var(--rule);border-left:3px solid var(--line);border-radius:6px;padding:.45rem .75rem .55rem;margin-top:.45rem}}
.try.succeeded{{border-left-color:var(--succeeded)}}.try.failed{{border-left-color:var(--failed)}}.try.lost,.try.cancelled{{border-left-color:var(--blocked)}}.try.running{{border-left-color:var(--running)}}
.line{{display:flex;flex-wrap:wrap;gap:.1rem 1rem;font-size:.84rem;align-items:baseline}}
.line>*{{overflow-wrap:anywhere;min-width:0}}
.line b{{font-weight:600}}
.message{{white-space:pre-wrap;overflow-wrap:anywhere;margin-top:.3rem;font-family:{_MONO};font-size:.8125rem;unicode-bidi:isolate}}
.then{{font-size:.84rem;color:var(--muted);margin-top:.3rem;overflow-wrap:anywhere}}
.then::before{{content:"→ "}}
.checks{{list-style:none;padding:0;font-size:.84rem;margin-top:.3rem}}
.checks li{{display:flex;gap:.45rem;overflow-wrap:anywhere}}
.checks .sign{{width:13px;height:13px;margin-top:4px}}
.checks li>span{{min-width:0}}
.denied{{font-size:.84rem;padding-left:1.2rem}}
.fold{{margin-top:.4rem}}
.fold>summary{{display:inline-flex;align-items:center;gap:.35rem;font-size:.8125rem;color:var(--muted)}}
.fold>pre,.fold>.cut{{margin-top:.35rem}}
.cells{{display:flex;flex-wrap:wrap;gap:3px;margin:.5rem 0}}
.cells a{{display:block;width:15px;height:15px;border-radius:3px;background:var(--pending)}}
.cells a:hover,.cells a:focus-visible{{outline:2px solid var(--link);outline-offset:1px}}
.wide{{overflow-x:auto}}
table{{border-collapse:collapse;width:100%;font-size:.84rem}}
th{{text-align:left;font-weight:600;color:var(--muted);font-size:.75rem;white-space:nowrap}}
th,td{{padding:.32rem .9rem;border-top:1px solid var(--rule);vertical-align:top}}
tr:first-child th{{border-top:0}}
th.n{{width:8rem}}
.log-of-events th.n{{width:auto}}
td.n,th.n{{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}}
td.key{{overflow-wrap:anywhere;min-width:8rem}}
.outputs{{padding:.25rem 1rem 1rem}}
.part{{margin-top:.75rem}}
.part>summary{{display:flex;flex-wrap:wrap;gap:.3rem .7rem;align-items:center;padding:.65rem .9rem}}
.part>summary .name{{font-weight:600}}
.part>.inside{{padding:0 1rem 1rem}}
.part h2{{margin-top:1.2rem;font-size:.95rem}}
.log-of-events td{{font-size:.78rem}}
footer{{margin-top:3rem;color:var(--muted);font-size:.8125rem}}

@media (max-width:640px){{
main{{padding:1.25rem .85rem 3rem}}
h1{{font-size:1.4rem}}
.tiles{{grid-template-columns:repeat(2,1fr)}}
.gantt{{--who:7.5rem;padding-left:.6rem;padding-right:.6rem}}
.gantt .axis{{left:calc(var(--who) + .6rem);width:calc(100% - var(--who) - 1.2rem)}}
.gantt text.second{{display:none}}
.unit>summary{{flex-wrap:wrap;gap:.15rem .5rem}}
.unit .what{{display:none}}
.unit>summary .name{{max-width:calc(100% - 3.1rem)}}
.unit .end{{flex-basis:100%;justify-content:flex-start;padding-left:1.35rem;gap:.3rem .9rem;flex-wrap:wrap;white-space:normal;margin:0}}
.body,.body .unit .body{{padding-left:.9rem}}
.facts{{grid-template-columns:minmax(0,1fr);gap:0}}
.facts dd{{margin-bottom:.3rem}}
.scroll{{text-align:left}}
th,td{{padding:.32rem .5rem}}
th.n{{width:auto;white-space:normal}}
}}
@media print{{
body{{background:#fff;font-size:10.5pt}}
main{{max-width:none;padding:0}}
nav,.tools,.skip,.once{{display:none}}
pre{{max-height:none;overflow:visible}}
.gantt.tall{{max-height:none;overflow:visible}}
.unit{{break-inside:avoid-page}}
.many>.unit{{content-visibility:visible}}
.unit[open]{{break-inside:auto}}
.try,.tiles div,.alarm,.gantt:not(.tall){{break-inside:avoid}}
h2,h3{{break-after:avoid}}
.scroll{{overflow:visible;max-height:none}}
.scroll svg{{max-width:100%;height:auto}}
*{{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
}}
"""


def _variables(colors: Mapping[str, str], main: int) -> str:
    more = {"ground": ("#f6f7f9", "#0b0e12"), "well": ("#f2f4f7", "#11161c"), "link": ("#1f5fd0", "#7fb0ff")}
    found = {**colors, **{name: pair[main // 2] for name, pair in more.items()}}
    found |= {state: tones[main] for state, tones in STATES.items()}
    return ":root{" + ";".join(f"--{name}:{color}" for name, color in found.items()) + "}"


def _states(main: int) -> str:
    return "\n".join(
        f".t-{state}{{color:{tones[main]};background:{tones[main + 1]}}}" for state, tones in STATES.items()
    )


_TONES = "\n".join(
    f".p-{state}{{fill:var(--{state})}}.c-{state}{{color:var(--{state})}}.cells a.k-{state}{{background:var(--{state})}}"
    for state in STATES
)

_DRAWINGS = DRAWINGS.replace("@media (prefers", "@media screen and (prefers")
"""Paper is white, whatever a screen prefers."""

STYLE = (
    f"{_variables(LIGHT, 0)}\n:root{{color-scheme:light dark}}\n{_DRAWINGS}{_BASE}{_TONES}\n{_states(0)}\n"
    f"@media screen and (prefers-color-scheme:dark){{\n{_variables(DARK, 2)}\n{_states(2)}\n}}\n"
)
