#!/usr/bin/env bash
# All stages in order, from images to submission.csv.
#
#   bash run_all.sh                        Kaggle's files in data/, or simulated cells if there are none
#   bash run_all.sh --preset smoke         another preset
#   bash run_all.sh --from 02 --to 04      some of the stages
#
# Every other option goes to each stage: --data --run --set --workers --work --force --settings
# (python 00_prepare.py --help). Run again after an interruption, it goes on where it stopped.
set -euo pipefail
here="$(dirname "${BASH_SOURCE[0]}")"
source "$here/environment.sh"

first=00 last=99 options=()
while (($#)); do
    case "$1" in
        --from | --to)
            [[ "${2:-}" =~ ^[0-9][0-9]$ ]] || { echo "run_all: $1 takes the number of a stage, for example 02" >&2; exit 2; }
            if [[ "$1" == --from ]]; then first="$2"; else last="$2"; fi
            shift 2 ;;
        -h | --help) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$here/run_all.sh"; exit 0 ;;
        *) options+=("$1"); shift ;;
    esac
done

prepare_environment requirements.txt
stages=()
for script in "$here"/[0-9][0-9]_*.py; do
    number="$(basename "$script" | cut -c 1-2)"
    if ((10#$number >= 10#$first && 10#$number <= 10#$last)); then stages+=("$script"); fi
done
((${#stages[@]})) || { echo "run_all: no stage from $first to $last; there are: $(cd "$here" && echo [0-9][0-9]_*.py)" >&2; exit 2; }
for script in "${stages[@]}"; do
    "$PYTHON" "$script" "${options[@]}" || {
        code=$?
        echo "run_all: stopped in $(basename "$script") (exit code $code)" >&2
        exit "$code"
    }
done
