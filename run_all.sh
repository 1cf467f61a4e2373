#!/usr/bin/env bash
# All stages in order, from images to submission.csv.
#
#   bash run_all.sh                        Kaggle's files in data/, or simulated cells if there are none
#   bash run_all.sh --preset smoke         another preset
#   bash run_all.sh --from 02 --to 04      some of the stages
#   bash run_all.sh --folds 5              five runs, each tuning with another fifth, and one that joins them
#   bash run_all.sh --quiet                only warnings, errors and the last line
#
# Every other option goes to each stage: --data --run --set --workers --work --force --settings
# (python 00_prepare.py --help). Run again after an interruption, it goes on where it stopped.
set -euo pipefail
here="$(dirname "${BASH_SOURCE[0]}")"
source "$here/environment.sh"

first=00 last=99 folds=0 name=folds options=() quiet=0
while (($#)); do
    case "$1" in
        --from | --to)
            [[ "${2:-}" =~ ^[0-9][0-9]$ ]] || { echo "run_all: $1 takes the number of a stage, for example 02" >&2; exit 2; }
            if [[ "$1" == --from ]]; then first="$2"; else last="$2"; fi
            shift 2 ;;
        --folds)
            [[ "${2:-}" =~ ^[1-9][0-9]*$ ]] || { echo "run_all: --folds takes how many, for example 5" >&2; exit 2; }
            folds="$2"
            shift 2 ;;
        --quiet) quiet=1; options+=("$1"); shift ;;
        --run) name="${2:-}"; options+=("$1"); shift ;;
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
((${#stages[@]})) || { echo "run_all: no stage from $first to $last; there are: $(cd "$here" && echo [0-9][0-9]_*.py)" >&2; exit 2; }
run() {
    "$PYTHON" "$@" || {
        code=$?
        echo "run_all: stopped in $(basename "$1") (exit code $code)" >&2
        exit "$code"
    }
}
joined=() members=()
for ((fold = 0; fold < folds; fold++)); do
    members+=("${name}_fold_$fold")
    for script in "${stages[@]}"; do
        [[ "$(basename "$script")" < "04" ]] || continue
        run "$script" "${options[@]}" --run "${name}_fold_$fold" --set "split.folds=$folds" "split.fold=$fold"
    done
done
for script in "${stages[@]}"; do
    if ((folds)); then
        [[ "$(basename "$script")" < "04" ]] && continue
        joined=(--run "$name")
        [[ "$(basename "$script")" < "05" ]] && joined+=(--join "${members[@]}")
    fi
    run "$script" "${options[@]}" "${joined[@]}"
done
if [[ -n "$next" && " ${options[*]} " != *" --settings "* ]]; then
    if ((folds)); then options+=(--folds "$folds"); fi
    echo "next: bash $0 --from $next$( ((${#options[@]})) && printf ' %q' "${options[@]}")"
fi
