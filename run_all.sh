#!/usr/bin/env bash
# Run all stages in order, from images to submission.csv.
#
#   bash run_all.sh                        Kaggle's files in data/, or simulated cells if there are none
#   bash run_all.sh --preset smoke         another preset
#   bash run_all.sh --from 02 --to 04      some of the stages
#   bash run_all.sh --folds 5              5-fold cross-validation, short for --set split.folds=5
#   bash run_all.sh --gpus 2               2 processes train, each on a GPU, and share networks and folds
#   bash run_all.sh --quiet                only warnings, errors and the last line
#
# Every other option is passed to each stage: --data --run --set --workers --work --force --settings
# (python 00_prepare.py --help). After an interruption, the same command resumes, without --force.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"  # called with sh
set -euo pipefail +o posix
here="$(dirname "${BASH_SOURCE[0]}")"
source "$here/environment.sh"

fail() { stop "run_all: $1"; }
first=00 last=99 options=() quiet=0 gpus=1
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
        --gpus)
            [[ "${2:-}" =~ ^[1-9][0-9]*$ ]] || fail "--gpus ${2:-}: expected the number of GPUs, for example 2"
            gpus="$2"
            shift 2 ;;
        --quiet) quiet=1; options+=("$1"); shift ;;
        -h | --help) sed -n '2,/^\[ /{/^#/s/^# \{0,1\}//p;}' "$here/run_all.sh"; exit 0 ;;
        *) options+=("$1"); shift ;;
    esac
done

devices=()  # of each process that trains, where there are several
if ((gpus > 1)); then
    visible="${CUDA_VISIBLE_DEVICES-$(nvidia-smi --query-gpu=index --format=csv,noheader 2> /dev/null || true)}"
    IFS=$', \n' read -r -d '' -a devices <<< "$visible" || true
    ((${#devices[@]} >= gpus)) || fail "--gpus $gpus: the number of GPUs that can be used here is ${#devices[@]}"
    [[ " ${options[*]-} " != *" --force "* ]] || fail \
        "--gpus with --force: each process would replace what the others have trained; choose a new --run NAME"
fi

if ((quiet)); then prepare_environment requirements.txt > /dev/null; else prepare_environment requirements.txt; fi
stages=() next=
for script in "$here"/[0-9][0-9]_*.py; do
    number="$(basename "$script" | cut -c 1-2)"
    if ((10#$number >= 10#$first && 10#$number <= 10#$last)); then stages+=("$script"); fi
    if ((10#$number > 10#$last)); then next="${next:-$number}"; fi
done
if [[ " ${options[*]-} " == *" --settings "* ]]; then stages=("${stages[@]:0:1}"); fi
((${#stages[@]})) || fail "no stage from $first to $last; there are: $(cd "$here" && echo [0-9][0-9]_*.py)"


# A signal to this script is passed on to the stage, which saves and ends; its exit code is then this script's.
signals=0 running=()
pass_on() {
    signals=$((signals + 1)) signal="$1"
    # a stage in the background ignores the INT that Ctrl-C sends to both, and QUIT
    case "$1" in INT | QUIT) set -- TERM ;; esac
    kill "-$1" "${running[@]:-none}" 2> /dev/null || exit $((128 + $(kill -l "$signal")))  # between two stages
}
for name in HUP INT QUIT TERM; do trap "pass_on $name" "$name"; done

start() {  # arguments: the GPU, empty for all, and the command
    local command=("$PYTHON" "${@:2}" ${options[@]+"${options[@]}"})
    if [[ "$1" ]]; then
        CUDA_VISIBLE_DEVICES="$1" LOCAL_WORLD_SIZE="$gpus" "${command[@]}" <&0 &
    else
        "${command[@]}" <&0 &
    fi
    running+=($!)
}

run_stage() {
    local code=0 gpu process result waited_for device=
    running=()
    if [[ "$(basename "$1")" == 0[23]_* ]]; then
        device="${devices[0]-}"
        for ((gpu = 1; gpu < gpus; gpu++)); do start "${devices[gpu]}" "$1" --quiet; done
    fi
    start "$device" "$1"
    for process in "${running[@]}"; do
        waited_for=-1
        while ((signals != waited_for)); do  # a signal ends the wait, not the stage
            waited_for=$signals result=0
            wait "$process" || result=$?
        done
        ((result == 0)) || code=$result
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
    if ((gpus > 1)); then options=(--gpus "$gpus" ${options[@]+"${options[@]}"}); fi
    say "next: bash $(printf %q "$0") --from $next$( ((${#options[@]})) && printf ' %q' "${options[@]}")"
fi
