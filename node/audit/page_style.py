"""How the page looks: calm, on a phone and on paper, in the light and in the dark."""

STYLE = """
:root{color-scheme:light dark;--paper:#fbfaf7;--card:#f3f1ea;--ink:#1e2126;--soft:#5d6269;--line:#d9d5ca;
--agreed:#2d6a88;--guest:#a5c6d5;--missing:#a86a0c;--wrong:#b3261e;--good:#2c6b45}
@media(prefers-color-scheme:dark){:root{--paper:#15171a;--card:#1e2125;--ink:#e7e4dd;--soft:#a2a6ac;--line:#363a40;
--agreed:#6cacd0;--guest:#35586b;--missing:#dca54a;--wrong:#ff8074;--good:#7cc79b}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;text-size-adjust:100%}
body{margin:0 auto;padding:2rem 1.25rem 4rem;max-width:60rem;background:var(--paper);color:var(--ink);
font:1rem/1.55 Charter,"Iowan Old Style",Georgia,"Noto Serif",serif;overflow-wrap:anywhere}
h1{font-size:1.9rem;line-height:1.2;margin:.2rem 0 1rem;font-weight:600}
h2{font-size:1.35rem;line-height:1.25;margin:0 0 .3rem;font-weight:600}
h3{font-size:1.02rem;margin:1.4rem 0 .4rem;font-weight:600}
section{margin:3.2rem 0 0;padding-top:1.1rem;border-top:1px solid var(--line)}
.lead{margin:0 0 1.1rem;color:var(--soft);max-width:44rem}
.note,.none{font-size:.88rem;color:var(--soft);margin:.5rem 0}
.over{margin:0;font:600 .8rem/1.4 system-ui,sans-serif;letter-spacing:.08em;text-transform:uppercase;color:var(--soft)}
nav ul,.legend{list-style:none;margin:1rem 0;padding:0;display:flex;flex-wrap:wrap;gap:.3rem 1.2rem;
font:.85rem/1.6 system-ui,sans-serif}
a{color:inherit;text-underline-offset:.2em}
.word{border:1px solid var(--line);border-left:.5rem solid var(--good);background:var(--card);padding:.9rem 1.2rem;
margin:1rem 0}
.word.bad{border-left:.5rem double var(--wrong)}
.word b{display:block;font-size:1.3rem;line-height:1.3}
.caveat{border:2px dashed var(--missing);padding:.7rem 1.1rem;margin:1rem 0}
.facts{display:grid;grid-template-columns:max-content 1fr;gap:.3rem 1.4rem;margin:1.2rem 0}
.facts dt{color:var(--soft)}
.facts dd{margin:0}
code{font:.86em/1.5 ui-monospace,"SF Mono",Menlo,Consolas,monospace}
.scroll{overflow-x:auto;margin:1rem 0 .4rem}
table{border-collapse:collapse;width:100%;font:.85rem/1.45 system-ui,sans-serif;font-variant-numeric:tabular-nums}
caption{text-align:left;font-weight:600;padding:.2rem 0 .5rem}
th,td{text-align:left;vertical-align:top;padding:.32rem .9rem .32rem 0;border-top:1px solid var(--line);
overflow-wrap:break-word;min-width:3.4rem;max-width:30rem}
td:last-child,th:last-child{padding-right:0}
thead th{font-weight:500;color:var(--soft);border-top:0;vertical-align:bottom}
tbody th{font-weight:500}
td code,th code{font-size:.92em;overflow-wrap:anywhere;display:inline-block;min-width:13rem}
td code.short,th code.short{min-width:0}
td .right{display:block;text-align:right;white-space:nowrap}
td.num,thead th.num{text-align:right}
td.num,code.short,.line{white-space:nowrap}
.words{display:block;min-width:18rem}
svg.bar{min-width:5rem}
td:has(>svg.bar){width:60%}
summary{cursor:pointer;font:.88rem/1.5 system-ui,sans-serif;padding:.35rem 0;color:var(--soft)}
details{margin:.6rem 0}
svg{display:block;overflow:visible}
svg.chart{width:100%;height:12rem}
svg.low{width:100%;height:6rem}
svg.strip{width:100%;height:1.75rem;border-bottom:1px solid var(--line)}
svg.bar{width:100%;height:.8rem;margin-top:.25rem}
svg.thin{width:100%;height:.9rem;border-bottom:1px solid var(--line)}
svg.sign{width:22px;height:12px;margin-right:.45rem;flex:none}
.legend li{display:flex;align-items:center}
svg.defs{position:absolute;width:0;height:0}
.agreed{fill:var(--agreed)}.guest{fill:var(--guest)}.wrong{fill:var(--wrong)}.missing{fill:url(#hatch)}
.framed{stroke:var(--soft);stroke-width:1}
.empty{fill:none}
.hatch{stroke:var(--missing);stroke-width:2.6;fill:none}
.grid,.line-a,.line-b,.stem,.head,.dot,.square,.cross{fill:none;vector-effect:non-scaling-stroke}
.grid{stroke:var(--line);stroke-width:1}
.line-a{stroke:var(--ink);stroke-width:1.8}
.line-b{stroke:var(--wrong);stroke-width:1.8;stroke-dasharray:6 3}
.stem{stroke:var(--wrong);stroke-width:1.6}
.head{stroke:var(--wrong);stroke-width:8;stroke-linecap:round}
.dot{stroke:var(--agreed);stroke-width:4;stroke-linecap:round}
.square{stroke:var(--ink);stroke-width:7;stroke-linecap:square}
.cross{stroke:var(--wrong);stroke-width:3}
.plot{display:grid;grid-template-columns:5.4rem minmax(0,1fr);margin:.6rem 0 1.2rem}
.plot>.xs{grid-column:2}
.ys{position:relative;font:.75rem/1 system-ui,sans-serif;color:var(--soft)}
.ys span{position:absolute;right:.6rem;transform:translateY(-50%);white-space:nowrap}
.xs{position:relative;height:2.7rem;font:.75rem/1.35 system-ui,sans-serif;color:var(--soft);border-top:1px solid
var(--line);font-variant-numeric:tabular-nums}
.xs span{position:absolute;top:.3rem;transform:translateX(-50%);text-align:center;white-space:nowrap}
.xs span.left{transform:none;text-align:left}
.xs span.right{transform:translateX(-100%);text-align:right}
.xs i{font-style:normal;opacity:.85}
.lanes{margin:.6rem 0 1.2rem}
.lane{display:grid;grid-template-columns:10rem minmax(0,1fr) 11rem;gap:0 .9rem;align-items:center;padding:.16rem 0;
font:.82rem/1.3 system-ui,sans-serif;break-inside:avoid}
.lane .told{color:var(--soft);font-variant-numeric:tabular-nums}
.lane.axis .xs{grid-column:2}
.lane code{font-size:.95em}
@media(max-width:40rem){body{padding:1.2rem 1rem 3rem}h1{font-size:1.5rem}
.facts{grid-template-columns:1fr;gap:0}.facts dd{margin:0 0 .6rem}
.lane{grid-template-columns:minmax(0,1fr) auto;padding:.35rem 0}
.lane svg{grid-column:1/-1;grid-row:2}.lane.axis .xs{grid-column:1/-1}
.few{display:none}.plot{grid-template-columns:4.6rem minmax(0,1fr)}svg.chart{height:10rem}
table{font-size:.8rem}}
@media print{:root{--paper:#fff;--card:#fff;--ink:#000;--soft:#444;--line:#bbb;--agreed:#2d6a88;--guest:#a5c6d5;
--missing:#a86a0c;--wrong:#b3261e;--good:#2c6b45}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}
body{max-width:none;padding:0;font-size:10pt}nav{display:none}section{margin-top:1.6rem}
.scroll{overflow:visible}.missing{fill:#f0c46c}
tr,svg,.plot{break-inside:avoid}h2,h3,.lead,.legend,caption{break-after:avoid}
th,td{padding-right:.6rem;max-width:none;min-width:0}.lane .few{display:none}.words,td code,th code{min-width:0}}
"""
