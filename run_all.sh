#!/usr/bin/env bash
# Run all stages in order, from images to submission.csv.
#
#   bash run_all.sh                        Kaggle's files in data/, or simulated cells if there are none
#   bash run_all.sh --preset smoke         another preset
#   bash run_all.sh --from 02 --to 04      some of the stages
#   bash run_all.sh --folds 5              5-fold cross-validation, short for --set split.folds=5
#   bash run_all.sh --quiet                only warnings, errors and the last line
#
# Every other option is passed to each stage: --data --run --set --workers --work --force --settings
# (python 00_prepare.py --help). After an interruption, the same command resumes.
set -euo pipefail
here="$(dirname "${BASH_SOURCE[0]}")"
source "$here/environment.sh"

fail() { echo "run_all: $1" >&2; exit 2; }
first=00 last=99 options=() quiet=0
while (($#)); do
    case "$1" in
        --from | --to)
            [[ "${2:-}" =~ ^[0-9][0-9]$ ]] || fail "$1 ${2:-}: expected the number of a stage, for example 02"
            if [[ "$1" == --from ]]; then first="$2"; else last="$2"; fi
            shift 2 ;;
        --folds)
            [[ "${2:-}" =~ ^[1-9][0-9]*$ ]] || fail "--folds ${2:-}: expected the number of folds, for example 5"
            options+=(--set "split.folds=$2")
            shift 2 ;;
        --quiet) quiet=1; options+=("$1"); shift ;;
        -h | --help) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$here/run_all.sh"; exit 0 ;;
        *) options+=("$1"); shift ;;
    esac
done

if ((quiet)); then prepare_environment requirements.txt > /dev/null; else prepare_environment requirements.txt; fi
stages=() next=
for script in "$here"/[0-9][0-9]_*.py; do
    number="$(basename "$script" | cut -c 1-2)"
    if ((10#$number >= 10#$first && 10#$number <= 10#$last)); then stages+=("$script"); fi
    if ((10#$number > 10#$last)); then next="${next:-$number}"; fi
done
((${#stages[@]})) || fail "no stage from $first to $last; there are: $(cd "$here" && echo [0-9][0-9]_*.py)"
for script in "${stages[@]}"; do
    "$PYTHON" "$script" "${options[@]}" || {
        code=$?
        echo "run_all: stopped in $(basename "$script") (exit code $code)" >&2
        exit "$code"
    }
done
if [[ -n "$next" && " ${options[*]} " != *" --settings "* ]]; then
    echo "next: bash $0 --from $next$( ((${#options[@]})) && printf ' %q' "${options[@]}")"
fi
