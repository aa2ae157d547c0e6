"""The preflight as a config step: collects all problems, tells them in plain lines, and ends the program."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from frerec.errors import FreRecError
from frerec.preflight.artefacts import check_bank, check_weights
from frerec.preflight.command_line import unknown_ids
from frerec.preflight.images import check_images
from frerec.preflight.paths import INPUT_FOLDERS, check_folders, check_outputs
from frerec.preflight.values import check_values
from frerec.workflow.outcome import EXIT_PREFLIGHT
from frerec.workflow.quiet import quiet_libraries


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
    **values: Any,
) -> None:
    """Check a workflow's settings before it starts; a step for ``initialize``.

    Args:
        workflow: its name, for the message.
        required: ids that must have a value; an empty one is no problem for the others.
        outputs: ids of the files and folders that the workflow writes; all other paths are read.
        mirrors: whether the workflow makes ``output_dir`` a mirror of ``dataset_dir``.
        values: the settings by config id. Ids the preflight does not know are not checked.

    Raises:
        PreflightError: after printing one line per problem to standard error.
    """
    problems = [*unknown_ids(sys.argv), *find_problems(required, outputs, mirrors, **values)]
    if not problems:
        return
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    print(f"{workflow} cannot start: {count}", *(f"- {p}" for p in problems), sep="\n", file=sys.stderr, flush=True)
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
    problems: list[FreRecError] = check_values(required, values)
    problems += check_folders(_without(values, outputs))
    problems += check_outputs({key: values[key] for key in outputs if values.get(key)}, values, mirrors)
    wrong = {getattr(problem, "config_id", None) for problem in problems}
    sound = {key: value for key, value in values.items() if key not in wrong}
    reads = _without(sound, outputs)
    problems += check_bank(reads) + check_weights(reads)
    if not wrong & set(INPUT_FOLDERS):
        with quiet_libraries():
            problems += check_images(reads)
    return problems


def _without(values: Mapping[str, Any], ids: Sequence[str]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in ids}
