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
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"  # called with sh
set -euo pipefail +o posix
here="$(dirname "${BASH_SOURCE[0]}")"
source "$here/environment.sh"

fail() { stop "run_all: $1"; }
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
        -h | --help) sed -n '2,/^\[ /{/^#/s/^# \{0,1\}//p;}' "$here/run_all.sh"; exit 0 ;;
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


# A signal to this script is passed on to the stage, which saves and ends; its exit code is then this script's.
signals=0
pass_on() {
    signals=$((signals + 1)) signal="$1"
    # a stage in the background ignores the INT that Ctrl-C sends to both, and QUIT
    case "$1" in INT | QUIT) set -- TERM ;; esac
    kill "-$1" "${!:-none}" 2> /dev/null || exit $((128 + $(kill -l "$signal")))  # between two stages
}
for name in HUP INT QUIT TERM; do trap "pass_on $name" "$name"; done

run_stage() {
    local code waited_for=-1
    "$PYTHON" "$1" ${options[@]+"${options[@]}"} <&0 &
    while ((signals != waited_for)); do  # a signal ends the wait, not the stage
        waited_for=$signals code=0
        wait $! || code=$?
    done
    if ((signals && (code == 0 || code == 128 + 15))); then code=$((128 + $(kill -l "$signal"))); fi
    return "$code"
}

for script in "${stages[@]}"; do
    run_stage "$script" || {
        code=$?
        say "run_all: stopped in $(basename "$script") (exit code $code)" >&2
        exit "$code"
    }
done
if [[ -n "$next" && " ${options[*]-} " != *" --settings "* ]]; then
    say "next: bash $0 --from $next$( ((${#options[@]})) && printf ' %q' "${options[@]}")"
fi
