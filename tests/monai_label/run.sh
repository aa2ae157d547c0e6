#!/usr/bin/env bash
# Make the environment of docs/how-to/use_with_monai_label.md by the page's own first command, then ask a real server.
#
#     tests/monai_label/run.sh [folder for the environment]
#
# The folder is made where it is missing, and kept; without one a temporary one is used. It takes 8 GB.
# Exit code 75: the packages could not be had, so nothing was tested.
set -euo pipefail
unset PYTHONPATH
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_PROGRESS_BAR=off PYTHONDONTWRITEBYTECODE=1
export OMP_NUM_THREADS=1  # server and library add in the same order

bundle="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
limit="${FREREC_INSTALL_LIMIT:-600}"  # seconds for the packages
if [[ $# -gt 0 ]]; then
    mkdir -p "$1" && work="$(cd "$1" && pwd)"
else
    work="$(mktemp -d "${TMPDIR:-/tmp}/monai-label.XXXXXX")"
    trap 'rm -rf "$work"' EXIT
fi

nothing_tested() {
    echo "MONAI Label: $1; nothing was tested"
    exit 75
}

# a copy: pip leaves what it builds in the folder it builds from
rm -rf "$work/bundle" && mkdir -p "$work/bundle/tests"
(cd "$bundle" && cp -r LICENSE MANIFEST.in README.md bundle configs docs models pyproject.toml setup.py "$work/bundle")
cp -r "$bundle/tests/monai_label" "$work/bundle/tests"

if [[ ! -e "$work/label/complete" ]]; then
    free="$(df -Pk "$work" | awk 'NR == 2 {print int($4 / 1048576)}')"
    ((free >= 12)) || nothing_tested "its environment needs 12 GB on the disk of $work, and $free GB are free"
    command="$(awk '/^```bash$/{code = 1; next} /^```$/{if (code) exit} code' "$bundle/docs/how-to/use_with_monai_label.md")"
    command="${command//path\/to\/this\/bundle/\"$work/bundle\"}"
    [[ "$command" == *torchvision* ]] || { echo "the page has no command that makes the environment"; exit 1; }
    rm -rf "$work/label"
    echo "$command"
    (cd "$work" && timeout "$limit" bash -ec "$command") >"$work/install.log" 2>&1 || {
        tail -n 5 "$work/install.log"
        nothing_tested "its packages could not be installed within $limit seconds"
    }
    touch "$work/label/complete"
fi
# shellcheck disable=SC1091  # the page's command made it
. "$work/label/bin/activate"
# a folder that was kept holds the package as it was
pip install -q --no-deps --force-reinstall "$work/bundle"
here="$bundle/tests/monai_label"
cd "$work"
python -m pytest -q -ra -c /dev/null --rootdir "$here" --confcutdir "$here" -p no:cacheprovider "$here/test_server.py"
