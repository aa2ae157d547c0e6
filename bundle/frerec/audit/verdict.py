"""Plain-language verdicts: one question each, an answer, and how sure it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from frerec.audit.detector import INDEPENDENT
from frerec.audit.figures import DETECTOR_LABELS

#: A detector at or below this AUC counts as no longer able to tell the sets apart.
AUC_LIMIT = 0.60
#: Fidelity that counts as faithful, and as acceptable: PSNR in dB and SSIM.
FAITHFUL, ACCEPTABLE = (38.0, 0.96), (32.0, 0.90)
#: Height over its surroundings, in decades and in standard errors, from which a spectral point is an artefact.
PEAK, PEAK_Z = 0.25, 6.0
#: Excess power, in decades, from which ringing is an artefact if all of the interval lies above it.
RINGING = {"edges": 0.25, "borders": 0.2}


@dataclass(frozen=True)
class Verdict:
    """One answered question.

    Attributes:
        question: as a user would ask it.
        answer: a few words.
        tone: ``good``, ``fair``, ``bad`` or ``unknown``, for the colour.
        sentence: the numbers behind it with their uncertainty.
    """

    question: str
    answer: str
    tone: str
    sentence: str

    def asdict(self) -> dict[str, str]:
        """The verdict as a plain dict."""
        return asdict(self)


def _interval(x: Mapping[str, Any], digits: int = 2) -> str:
    return f"{x['value']:.{digits}f} ({x['low']:.{digits}f} to {x['high']:.{digits}f})"


def _auc_words(x: Mapping[str, Any]) -> tuple[str, str]:
    """Answer to "can it tell?" and whether that is certain: from the whole interval, not the value alone."""
    if x["high"] <= AUC_LIMIT:
        return "no", "good"
    if x["low"] > AUC_LIMIT:
        return ("yes", "bad") if x["value"] > 0.75 else ("partly", "fair")
    return "uncertain", "fair"


def verdicts(result: Mapping[str, Any]) -> list[Verdict]:
    """Answer every question the measured groups allow.

    Args:
        result: what :meth:`frerec.audit.audit.AuditHandler.measure` returns.
    """
    comparisons = result["comparisons"]
    answers = [_bias(comparisons)]
    found = [name for name in ("after", "after_against_untouched_real") if name in comparisons]
    after = found[0] if found else "before"
    if found:
        answers.append(_closed(comparisons, after))
        answers += [_still_told(comparisons, name) for name in found]
    answers += [_fidelity(side, measures) for side, measures in result["fidelity"].items()]
    last = [_lattice(comparisons), *(_ringing(comparisons, name) for name in found or ["before"])]
    answers += [v for v in (*last, _features(comparisons, after), _copies(result["copies"])) if v]
    answers.append(_sound(comparisons))
    return answers


def strongest(detectors: Mapping[str, Any]) -> str:
    """Name of the detector that tells best."""
    return max(detectors, key=lambda name: detectors[name]["value"])


def _listed(detectors: Mapping[str, Any], floor: Mapping[str, Any] | None) -> str:
    """All detectors in words, each with what chance makes of it."""
    words = []
    for name in (n for n in DETECTOR_LABELS if n in detectors):
        chance = f", chance {floor[name]['value']:.2f}" if floor and name in floor else ""
        words.append(f"{DETECTOR_LABELS[name]} {_interval(detectors[name])}{chance}")
    return "AUC, 0.5 cannot tell: " + "; ".join(words) + "."


def _bias(comparisons: Mapping[str, Any]) -> Verdict:
    question = "Do your synthetic images carry a frequency bias?"
    before = comparisons["before"]
    gap = f"Their high-band power differs from real by {_interval(before['gap']['high'])} decades"
    floor = comparisons.get("floor")
    gap += f"; real images differ from real by {floor['gap']['high']['value']:.2f}." if floor else "."
    if "detector" not in before:
        return Verdict(question, "too few images", "unknown", gap + " A detector needs more images.")
    detectors = before["detector"]
    answer, tone = _auc_words(detectors[strongest(detectors)])
    return Verdict(question, answer, tone, f"{gap} {_listed(detectors, (floor or {}).get('detector'))}")


def _closed(comparisons: Mapping[str, Any], after: str) -> Verdict:
    question = "Does recalibration close the spectral gap?"
    old, new = comparisons["before"]["gap"]["high"], comparisons[after]["gap"]["high"]
    against = "recalibrated real" if after == "after" else "untouched real"
    sentence = (
        f"High band, in decades of power: {_interval(old)} before, {_interval(new)} after (recalibrated synthetic "
        f"against {against} images)"
    )
    if new["value"] >= old["value"]:
        return Verdict(question, "no", "bad", f"{sentence}. It grew.")
    ratio = old["value"] / max(new["value"], 1e-9)
    sentence += f", {ratio:.1f} times smaller."
    if new["high"] >= old["low"]:
        return Verdict(question, "uncertain", "fair", sentence + " The intervals overlap.")
    answer, tone = ("yes", "good") if ratio >= 4 else ("partly", "fair") if ratio >= 1.5 else ("hardly", "bad")
    floor = comparisons.get("floor")
    if floor:
        sentence += f" Chance alone makes {floor['gap']['high']['value']:.2f} between two halves of the real set."
    return Verdict(question, answer, tone, sentence)


def _still_told(comparisons: Mapping[str, Any], name: str) -> Verdict:
    compared = {
        "after": "all images recalibrated",
        "after_against_untouched_real": "synthetic images only recalibrated",
    }[name]
    question = f"Can a detector still tell synthetic from real ({compared})?"
    if "detector" not in comparisons[name]:
        return Verdict(question, "too few images", "unknown", "A detector needs more images on both sides.")
    detectors = comparisons[name]["detector"]
    sentence = _listed(detectors, comparisons.get("floor", {}).get("detector"))
    best = strongest(detectors)
    answer, tone = _auc_words(detectors[best])
    missing = [DETECTOR_LABELS[n] for n in INDEPENDENT if n not in detectors]
    if missing:
        sentence += f" Not run: {', '.join(missing)}."
        if tone == "good":
            return Verdict(
                question, "not by what was run", "fair", sentence + " Give real images and leave cnn_steps above 0."
            )
    return Verdict(question, answer, tone, f"The strongest detector is: {DETECTOR_LABELS[best]}. {sentence}")


def _fidelity(side: str, measures: Mapping[str, Any]) -> Verdict:
    wanted = side == "synthetic"
    question = f"Do recalibrated {side} images stay true to their inputs?"
    if wanted:  # a change is the purpose of the step, so none of these answers is bad
        question = "How much are recalibrated synthetic images changed?"
    if measures["unchanged"] == measures["n"]:
        return Verdict(question, "yes, unchanged", "good", f"All {measures['n']} images came back identical.")
    if "ssim" not in measures or "psnr" not in measures:
        return Verdict(question, "not measured", "unknown", "The images are too small for SSIM.")
    psnr, ssim = measures["psnr"], measures["ssim"]
    pair = (psnr["mean"], ssim["mean"])
    if all(x >= y for x, y in zip(pair, FAITHFUL, strict=True)):
        answer, tone = ("little" if wanted else "yes"), "good"
    elif all(x >= y for x, y in zip(pair, ACCEPTABLE, strict=True)):
        answer, tone = ("somewhat", "good") if wanted else ("mostly", "fair")
    else:
        answer, tone = ("much", "fair") if wanted else ("no", "bad")
    sentence = (
        f"PSNR {psnr['mean']:.1f} dB on average, {psnr['low']:.1f} at the 5th percentile; SSIM {ssim['mean']:.3f}, "
        f"{ssim['low']:.3f}; {measures['n']} images."
    )
    if wanted:
        sentence += " A change is the purpose here; look at the strip for content that should have stayed."
    if measures["unchanged"]:
        sentence += f" {measures['unchanged']} of them came back identical and do not count in the PSNR."
    return Verdict(question, answer, tone, sentence)


def _lattice(comparisons: Mapping[str, Any]) -> Verdict | None:
    question = "Is there a checkerboard or grid in the synthetic images?"
    maps = {name: c["map"] for name, c in comparisons.items() if "map" in c}
    if "before" not in maps:
        return None
    chance = maps.get("floor", {"peak": 0.0, "peak_z": 0.0})

    def present(found: Mapping[str, Any]) -> bool:
        # above what is seen between real images, as well as above the limits
        return found["peak"] >= max(PEAK, chance["peak"]) and found["peak_z"] >= max(PEAK_Z, chance["peak_z"])

    old = maps["before"]
    words = (
        f"The sharpest point of the two-dimensional difference spectrum is {old['peak']:.2f} decades above the rest "
        f"(period {old['peak_period']} pixels, {old['peak_z']:.0f} standard errors); between real images "
        f"{chance['peak']:.2f} ({chance['peak_z']:.0f})"
    )
    new = maps.get("after") or maps.get("after_against_untouched_real")
    if new is None:
        return Verdict(question, *(("yes", "bad") if present(old) else ("no sign", "good")), words + ".")
    left = f"; after recalibration {new['peak']:.2f} (period {new['peak_period']} pixels, {new['peak_z']:.0f})."
    answer = {
        (False, False): ("no sign", "good"),
        (True, False): ("yes, repaired", "good"),
        (True, True): ("yes, and some stays", "bad"),
        (False, True): ("recalibration makes one", "bad"),
    }[present(old), present(new)]
    return Verdict(question, *answer, words + left)


def _ringing(comparisons: Mapping[str, Any], name: str) -> Verdict | None:
    against = {"before": "before recalibration", "after": "against recalibrated real images"}
    question = f"Do edges or borders ring ({against.get(name, 'against untouched real images')})?"
    ringing = comparisons[name].get("ringing")
    if not ringing:
        return None
    floor = comparisons.get("floor", {}).get("ringing", {})
    words, present = [], []
    for kind, excess in ringing.items():
        chance = floor[kind]["value"] if kind in floor else 0.0
        words.append(f"{kind} {_interval(excess)}, between real images {chance:.2f}")
        if excess["low"] > max(RINGING[kind], chance):
            present.append(kind)
    sentence = f"Excess power in decades: {'; '.join(words)}."
    answer = (f"yes, {' and '.join(present)}", "bad") if present else ("no sign", "good")
    return Verdict(question, *answer, sentence)


def _features(comparisons: Mapping[str, Any], after: str) -> Verdict | None:
    question = "Does the set as a whole come closer to the real one in feature space?"
    old = comparisons["before"].get("distribution")
    new = comparisons.get(after, {}).get("distribution")
    if not old or not new:
        return None
    shift = old["kid"] - new["kid"]
    spread = (old["kid_std"] ** 2 + new["kid_std"] ** 2) ** 0.5
    sentence = (
        f"KID {old['kid']:.4f} before, {new['kid']:.4f} after (spread between subsets {old['kid_std']:.4f} and "
        f"{new['kid_std']:.4f}); FID {old['fid']:.2f} and {new['fid']:.2f}. These are not Inception numbers."
    )
    if abs(shift) <= spread:
        return Verdict(question, "no clear change", "fair", sentence)
    return Verdict(question, "closer" if shift > 0 else "further away", "good" if shift > 0 else "bad", sentence)


def _copies(copies: Mapping[str, Any]) -> Verdict | None:
    question = "Are outputs copies of real images that were learnt from?"
    groups = [copies[name] for name in ("synthetic", "recalibrated") if name in copies]
    bank = copies.get("bank")
    hits = len({*bank["synthetic"], *bank["recalibrated"]}) if bank else 0
    identical = f" {hits} are identical to one of the {bank['n']} images of the reference bank." if bank else ""
    if not groups:
        found = ("look at them", "bad") if hits else ("none identical", "fair")
        return Verdict(question, *found, identical.strip() + " Near copies need images.") if bank else None
    suspects = max(group["suspects"] for group in groups)
    first = groups[0]
    against = {
        "training": "training images",
        "bank": "images of the reference bank",
        "real": "real images (no training images were given)",
    }[copies["against"]]
    closest = max(group["closest"][0]["correlation"] for group in groups)
    sentence = f"{suspects} of {first['n']} come suspiciously close to one of {copies['n_reference']} {against}; "
    sentence += f"the closest correlates {closest:.3f}, suspects from {first['threshold']:.3f}"
    if first["held_out_maximum"] is not None:
        sentence += f"; the closest held-out real image {first['held_out_maximum']:.3f}"
    answer, tone = ("look at them", "bad") if suspects or hits else ("no sign", "good")
    return Verdict(question, answer, tone, f"{sentence}.{identical}")


def _sound(comparisons: Mapping[str, Any]) -> Verdict:
    question = "Is this audit itself sound?"
    floor = comparisons.get("floor", {}).get("detector")
    if not floor:
        return Verdict(question, "cannot be checked", "unknown", "There are too few real images to halve the set.")
    best = strongest(floor)
    auc, between = floor[best], comparisons["floor"].get("between", "two halves of the real images")
    sentence = f"Nothing should tell {between} apart; the best that a detector does is AUC {_interval(auc)}"
    sentence += f" ({DETECTOR_LABELS[best]})."
    # the best of several is above one half by chance alone
    if auc["low"] > 0.5 and auc["value"] > AUC_LIMIT:
        return Verdict(
            question, "with care", "fair",
            sentence + " They differ by themselves (sites, devices or views), so read AUCs near this as chance.",
        )  # fmt: skip
    if auc["high"] - auc["low"] > 0.3:
        return Verdict(question, "few images", "fair", sentence + " The interval is wide: add images.")
    return Verdict(question, "yes", "good", sentence)
