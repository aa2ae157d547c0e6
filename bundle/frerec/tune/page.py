"""The recommendation as a page: what to do, how sure that is, why, and how to do it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from typing import Any

from frerec.audit.verdict import AUC_LIMIT
from frerec.report.html import card, cards, note, page, section, table

_PLAIN = {"RAW": "not adding them", "GDA": "adding them as they are"}
_SURE = {
    "shown": ("it was shown", "good", "it is better beyond chance (95 % interval)."),
    "likely": ("likely, not shown", "fair", "it is better by more than one standard error, but not beyond chance (95 % "
               "interval); a larger budget or more validation images would tell."),
    "open": ("open", "unknown", "it is not better by more than one standard error; of ways that do as well, this is "
             "the one of least effort. The intervals say what remains possible."),
}  # fmt: skip


def in_words(name: str) -> str:
    """A candidate in plain words."""
    if name in _PLAIN:
        return _PLAIN[name]
    stage, strength, mask, transition, *whose = name.split()
    stages = "SHR alone" if stage == "shr" else "both stages"
    return (
        f"{stages}, strength {strength}, mask_ratio {mask}, transition {transition}, "
        f"{'all images' if whose else 'synthetic images only'}"
    )


def answer(summary: Mapping[str, Any]) -> tuple[str, str, str]:
    """What to do: a few words, the tone, and a sentence that says why."""
    told, runs = summary["answer"], summary["runs"]
    raw, own = runs["RAW"], runs[told["candidate"]]
    if not told["add"]:
        best = max((run for name, run in runs.items() if name != "RAW"), key=lambda run: run["value"])
        why = f"Without them the AUC was {raw['value']:.3f}, with them at best {best['value']:.3f}."
        return "do not add them", "bad", why
    gain = own["minus_RAW"]
    why = f"AUC {own['value']:.3f}, without them {raw['value']:.3f}: {_signed(gain)}."
    if told["recalibrate"] == "none":
        tried = any(name not in _PLAIN for name in runs)
        more = "Recalibration was tried and brought no more." if tried else "There was nothing to repair."
        return "add them and leave them as they are", "good", f"{why} {more}"
    whose = "add them, all images recalibrated" if told["recalibrate"] == "all" else "recalibrate and add them"
    return whose, "good", f"{why} As they are: {runs['GDA']['value']:.3f}."


def tuning_page(summary: Mapping[str, Any]) -> str:
    """A self-contained HTML page.

    Args:
        summary: what :meth:`frerec.tune.tuner.Tuner.run` returns.
    """
    told = summary["answer"]
    words, tone, why = answer(summary)
    sure, sure_tone, meaning = _SURE[told["sure"]]
    against = "; ".join(f"against {in_words(name)}: {_signed(d)}" for name, d in summary["against"].items())
    held = "Against every way of less effort" if told["add"] else "Against the best way to add them"
    head = "<header><h1>FreRec: what to do with these generated images</h1></header>"
    found = [
        card("What should be done with them?", words, tone, why),
        card("How sure is that?", sure, sure_tone, f"{held} {meaning} AUC {against}; {told['seeds']} seeds."),
    ]
    body = [head, cards("Recommendation", found), section("How to do it", *_how(summary))]
    body.append(section("What the images look like", note(
        "Worst class of those that get synthetic images. Detector: cross-validated AUC of telling them from real "
        f"training images by a radial spectrum, plain and under a Hann window; at or below {AUC_LIMIT:.2f} it cannot. "
        "Gap: distance of the mean spectra in decades. Peak: height of an isolated point of the spectrum, such as a "
        "grid leaves, in decades and standard errors. PSNR: of the images against themselves as they came."
    ), _figures_table(summary)))  # fmt: skip
    body.append(section("What a classifier makes of them", note(
        f"Validation AUC, {summary['validation_images']} images; mean over seeds and 95 % interval over seeds and "
        "patients, paired between candidates. The better half went on to twice as many seeds each time, not adding and "
        "adding as they are to the end. The validation images also chose the step of each run, so all values are a "
        "little too high, alike for all candidates; the value of the best of many is flattered further. The test split "
        "was not looked at: confirm the recommendation there, with the study."
    ), _runs_table(summary)))  # fmt: skip
    return page("FreRec: recommendation", body)


def _how(summary: Mapping[str, Any]) -> list[str]:
    told, size = summary["answer"], " x ".join(map(str, summary["image_size"]))
    overrides = escape(json.dumps(summary["overrides"], indent=1))
    if told["recalibrate"] == "none":
        done = "Nothing is to be recalibrated: tuned.json, laid over inference.json, hands every image through."
        return [note(done), f"<pre>{overrides}</pre>"]
    runs = ["frerec inference tuned.json --dataset_dir <synthetic images> --output_dir <recalibrated>"]
    if told["recalibrate"] == "all":
        runs.append("frerec inference tuned.json --dataset_dir <real images> --output_dir <recalibrated real images>")
    shown = escape("\n".join(runs))
    return [
        note(f"At {size}, the size it was tried at: shrinking images afterwards would throw away what was repaired."),
        f"<pre>{shown}</pre>",
        note("tuned.json holds:"),
        f"<pre>{overrides}</pre>",
    ]


def _figures_table(summary: Mapping[str, Any]) -> str:
    rows = [
        [
            in_words(name).removesuffix(", synthetic images only"),
            _number(f["radial"]), _number(f["radial_hann"]), _number(f["gap"], 3),
            f"{f['peak']:.2f} ({f['peak_z']:.1f})", "" if name == "GDA" else _number(f["psnr"], 1),
            f"left out: {f['left_out']}" if f["left_out"] else "",
        ]
        for name, f in summary["figures"].items()
    ]  # fmt: skip
    return table(["candidate", "detector", "detector, Hann", "gap", "peak", "PSNR", ""], rows)


def _runs_table(summary: Mapping[str, Any]) -> str:
    rows, tones = [], []
    for name, run in sorted(summary["runs"].items(), key=lambda item: -item[1]["value"]):
        chosen = name == summary["answer"]["candidate"]
        value = f"{run['value']:.3f} ({run['low']:.3f} to {run['high']:.3f})"
        difference = "" if name == "RAW" else _signed(run["minus_RAW"])
        rows.append([in_words(name), value, difference, str(run["seeds"]), "recommended" if chosen else ""])
        tones.append(["good" if chosen else "", "", "", ""])
    return table(["candidate", "AUC", "minus not adding them", "seeds", ""], rows, tones)


def _signed(difference: Mapping[str, Any]) -> str:
    return f"{difference['value']:+.3f} ({difference['low']:+.3f} to {difference['high']:+.3f})"


def _number(value: float | None, digits: int = 2) -> str:
    return "too few images" if value is None else f"{value:.{digits}f}"
