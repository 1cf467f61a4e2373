#!/usr/bin/env bash
# Check the style and run the tests, after installing what they need.
#
#   bash run_tests.sh                      the fast suite
#   bash run_tests.sh --all                with the tests marked slow: what CI runs
#   bash run_tests.sh tests/data -k cache  every other argument goes to pytest
set -euo pipefail
unset CDPATH
cd "$(dirname "${BASH_SOURCE[0]}")"
source environment.sh

selection=(-m "not slow") arguments=()
for argument in "$@"; do
    if [[ "$argument" == --all ]]; then selection=(); else arguments+=("$argument"); fi
done
prepare_environment requirements.txt requirements-dev.txt
export OMP_NUM_THREADS=1  # two test processes share the cores
"$PYTHON" -m ruff check .
"$PYTHON" -m ruff format --check .
# whole files, in the order that tests/conftest.py sets
parallel=(--numprocesses 2 --dist loadfile --no-loadscope-reorder)
"$PYTHON" -m pytest "${parallel[@]}" ${selection[@]+"${selection[@]}"} ${arguments[@]+"${arguments[@]}"}
