"""The preflight as a config step: collects all problems, tells them in plain lines, and ends the program."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from frerec.errors import EXIT_PREFLIGHT, FreRecError, InputError
from frerec.io.listing import forget
from frerec.ranks import rank
from frerec.root import bundle_root
from frerec.run.command_line import other_bundle, wrong_words
from frerec.run.failure import name_run
from frerec.run.preflight.artefacts import check_bank, check_weights
from frerec.run.preflight.images import check_images
from frerec.run.preflight.paths import INPUT_FOLDERS, check_folders, check_outputs
from frerec.run.preflight.values import check_values


class PreflightError(SystemExit):
    """A workflow that cannot start; ends the program with code 3 and without a traceback.

    Args:
        problems: the problems, already told.
    """

    def __init__(self, problems: Sequence[FreRecError]) -> None:
        super().__init__(EXIT_PREFLIGHT)
        self.problems = list(problems)

    def __str__(self) -> str:
        return "; ".join(map(str, self.problems))


def check(
    workflow: str,
    required: Sequence[str] = (),
    outputs: Sequence[str] = ("output_dir",),
    mirrors: bool = False,
    settings: Mapping[str, Any] | None = None,
    **values: Any,
) -> None:
    """Check a workflow's settings before it starts; the first line of ``run``.

    Args:
        workflow: its name, for the message.
        required: ids that must have a value; an empty one is no problem for the others.
        outputs: ids of the files and folders that the workflow writes; all other paths are read.
        mirrors: whether the workflow makes ``output_dir`` a mirror of ``dataset_dir``.
        settings: the settings by config id. Ids the preflight does not know are not checked.
        values: further settings by config id.

    Raises:
        PreflightError: after printing one line per problem to standard error.
    """
    name_run(workflow, None)
    values = {**(settings or {}), **values}
    problems = [*wrong_words(sys.argv), *find_problems(required, outputs, mirrors, **values)]
    first = rank() == 0
    if (other := other_bundle(sys.argv)) and first:
        reason = f"the config lies in this bundle, but what ships is taken from {bundle_root()}"
        print(InputError(other, reason, "Add --bundle_root to choose"), file=sys.stderr, flush=True)
    if not problems:
        name_run(workflow, _log_folder({key: values[key] for key in outputs}))
        return
    # of the processes of a distributed run, which all find the same, one speaks; each has a device and share of its own
    own = ("device", "shard_index")
    told = problems if first else [problem for problem in problems if getattr(problem, "config_id", None) in own]
    if told:
        count = "1 problem" if len(told) == 1 else f"{len(told)} problems"
        print(f"{workflow} cannot start: {count}", *(f"- {p}" for p in told), sep="\n", file=sys.stderr, flush=True)
    raise PreflightError(problems)


def find_problems(
    required: Sequence[str] = (), outputs: Sequence[str] = ("output_dir",), mirrors: bool = False, **values: Any
) -> list[FreRecError]:
    """Find everything wrong with a set of settings.

    Args:
        required: as in :func:`check`.
        outputs: as in :func:`check`.
        mirrors: as in :func:`check`.
        values: as in :func:`check`.

    Returns:
        One error for each problem; empty if the workflow can start. Checks that a found problem makes pointless (the
        channels of a bank that cannot be opened) are left out.
    """
    needed = [*required, *(key for key in outputs if key in values and key not in required)]
    problems: list[FreRecError] = check_values(needed, values)
    sound = _without(values, _ids(problems))
    problems += check_folders(_without(sound, outputs), mirrors)
    problems += check_outputs({key: sound[key] for key in outputs if sound.get(key)}, sound, mirrors)
    wrong = _ids(problems)
    reads = _without(_without(values, wrong), outputs)
    problems += check_bank(reads) + check_weights(reads)
    if not wrong & set(INPUT_FOLDERS):
        problems += check_images(reads)
    forget(contents_only=True)
    return problems


def _log_folder(outputs: Mapping[str, Any]) -> Path | None:
    folders = [Path(value) if key.endswith("_dir") else Path(value).parent for key, value in outputs.items() if value]
    return folders[0] if folders else None


def _ids(problems: Sequence[FreRecError]) -> set[str]:
    return {getattr(problem, "config_id", "") for problem in problems}


def _without(values: Mapping[str, Any], ids: Collection[str]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in ids}
