"""Style sheet of the report: one column on a phone, cards side by side on a desk, ink-saving in print."""

STYLE = """
:root { --ink: #1f2933; --soft: #52606d; --line: #d9e2ec; --good: #1b7f4d; --fair: #a86a00; --bad: #b42336;
  --unknown: #627d98; }
* { box-sizing: border-box; }
body { margin: 0; background: #f5f7fa; color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 1rem; }
header h1 { font-size: 1.7rem; line-height: 1.2; margin: 1rem 0 .3rem; }
header p { color: var(--soft); margin: .2rem 0 1rem; }
section { background: #fff; border: 1px solid var(--line); border-radius: 10px; padding: 1rem 1.2rem;
  margin: 0 0 1rem; }
h2 { font-size: 1.15rem; margin: .1rem 0 .7rem; }
section > p { color: var(--soft); margin: .4rem 0 .8rem; max-width: 46rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(17rem, 1fr)); gap: .8rem; }
.card { border: 1px solid var(--line); border-left: 5px solid var(--tone); border-radius: 8px;
  padding: .7rem .9rem; }
.card h3 { font-size: .95rem; font-weight: 600; margin: 0; line-height: 1.35; }
.card p { font-size: .875rem; color: var(--soft); margin: .3rem 0 0; }
.card .answer { color: var(--tone); font-size: 1.15rem; font-weight: 700; margin: .15rem 0 0; }
.card .answer::first-letter { text-transform: uppercase; }
.good { --tone: var(--good); } .fair { --tone: var(--fair); } .bad { --tone: var(--bad); }
.unknown { --tone: var(--unknown); }
img { display: block; max-width: 100%; height: auto; margin: .4rem auto; }
img.figure { width: 34rem; }
img.wide { width: 100%; max-width: 56rem; }
.scroll { overflow-x: auto; margin: .6rem 0; }
table { border-collapse: collapse; font-size: .875rem; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .4rem .6rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
thead th { color: var(--soft); font-weight: 600; }
tbody th { font-weight: 500; min-width: 10rem; }
td { white-space: nowrap; }
pre { background: #f0f4f8; border-radius: 8px; padding: .8rem; overflow-x: auto; font-size: .8rem; }
li { overflow-wrap: anywhere; font-size: .875rem; }
.warning { color: var(--bad); font-weight: 600; }
@media (max-width: 40rem) { main { padding: .5rem; } section { padding: .8rem; border-radius: 8px; }
  tbody th { min-width: 7.5rem; } }
@media print { body { background: #fff; font-size: 10.5pt; } main { max-width: none; padding: 0; }
  section { border: 0; padding: 0; break-inside: auto; } .card, img, table, pre { break-inside: avoid; }
  h2 { break-after: avoid; } .scroll { overflow: visible; } td { white-space: normal; }
  pre { white-space: pre-wrap; } * { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
"""
