# Sourced by run_all.sh and run_tests.sh: sets PYTHON to an interpreter that has the packages.
# An active virtual environment is used, else .venv beside this file is made. When nothing is to
# be done it costs a few milliseconds: the installed requirements are compared with the wanted ones.

prepare_environment() {  # arguments: requirement files in this file's folder
    local here folder wanted stamp arguments=() file
    here="$(dirname "${BASH_SOURCE[0]}")"
    folder="${VIRTUAL_ENV:-$here/.venv}"
    PYTHON="$folder/bin/python"
    # one stamp a set of files, so that tests and runs do not undo each other's
    stamp="$folder/installed-$(IFS=+; echo "$*")"
    wanted="$(cd "$here" && cat "$@")"
    [[ -f "$stamp" && "$(<"$stamp")" == "$wanted" ]] && return 0
    for file in "$@"; do arguments+=(-r "$here/$file"); done
    if [[ ! -x "$PYTHON" ]]; then
        python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || {
            echo "Python 3.11 or newer is needed; found: $(python3 --version 2>&1)" >&2
            return 2
        }
        echo "making $folder"
        python3 -m venv "$folder" || return
    fi
    echo "installing packages into $folder (about 6 GB; a few minutes the first time)"
    (
        # two commands started at once must not install over each other
        if command -v flock >/dev/null; then flock 9 || exit; fi
        "$PYTHON" -m pip install --quiet --disable-pip-version-check "${arguments[@]}" || exit
        printf '%s\n' "$wanted" > "$stamp"
    ) 9> "$folder/.lock" || {
        echo "installing failed; see the lines above, then run the same command again" >&2
        return 2
    }
}
