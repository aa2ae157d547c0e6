"""The HTML kit of every report: one file that needs nothing else, on a phone, on a desk and in print."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from xml.sax.saxutils import quoteattr

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
td.good, td.bad { box-shadow: inset 4px 0 var(--tone); }
summary { color: var(--soft); cursor: pointer; }
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


def page(title: str, body: Sequence[str]) -> str:
    """A whole page without any reference to another file or host."""
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><main>{''.join(body)}</main></body></html>\n"
    )


def image_tag(data: bytes, alt: str, kind: str = "figure") -> str:
    """An ``<img>`` that carries its data (PNG or SVG); ``kind`` is its CSS class."""
    mime = "image/png" if data.startswith(b"\x89PNG") else "image/svg+xml"
    source = f"data:{mime};base64,{base64.b64encode(data).decode()}"
    return f"<img class={quoteattr(kind)} alt={quoteattr(alt)} src={quoteattr(source)}>"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], tones: Sequence[Sequence[str]] | None = None) -> str:
    """An HTML table in a box that scrolls by itself on a narrow screen; the first column heads its row.

    Args:
        header: cells of the head.
        rows: cells of each row.
        tones: for each row a tone (``good``, ``bad``, ...) of each cell behind the first; empty for none.
    """
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header)
    body = ""
    for number, row in enumerate(rows):
        kinds = tones[number] if tones else [""] * (len(row) - 1)
        marks = [f" class={quoteattr(kind)}" if kind else "" for kind in kinds]
        cells = "".join(f"<td{mark}>{escape(cell)}</td>" for cell, mark in zip(row[1:], marks, strict=True))
        body += f'<tr><th scope="row">{escape(row[0])}</th>{cells}</tr>'
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def section(title: str, *parts: str | None) -> str:
    """A section with what there is of its parts; nothing where there is nothing."""
    found = [part for part in parts if part]
    return f"<section><h2>{escape(title)}</h2>{''.join(found)}</section>" if found else ""


def note(text: str) -> str:
    """A paragraph of explanation."""
    return f"<p>{escape(text)}</p>"


def card(question: str, answer: str, tone: str, sentence: str) -> str:
    """A question with its answer; ``tone`` is ``good``, ``fair``, ``bad`` or ``unknown``."""
    return (
        f'<div class="card {tone}"><h3>{escape(question)}</h3><p class="answer">{escape(answer)}</p>'
        f"<p>{escape(sentence)}</p></div>"
    )


def cards(title: str, found: Sequence[str]) -> str:
    """A section of cards side by side."""
    return f'<section><h2>{escape(title)}</h2><div class="cards">{"".join(found)}</div></section>'
