# Sourced by run_all.sh and run_tests.sh: sets PYTHON to an interpreter that has the packages.
# An active virtual environment is used, else .venv beside this file, which is made where it is missing or
# broken. When nothing is to be done it costs milliseconds: the requirements are those that were installed.

# a stream that the caller has closed (>&-) would become the next file that is opened
true 2> /dev/null 3<&0 || exec < /dev/null
true 2> /dev/null 3>&1 || exec > /dev/null
true 3>&2 || exec 2> /dev/null
unset CDPATH PYTHONHOME PYTHONSAFEPATH  # which hide this folder or the packages

say() { echo "$*" 2> /dev/null || true; }  # also where nothing can be printed
stop() { echo "$*" >&2 || true; exit 2; }

prepare_environment() {  # arguments: requirement files in this file's folder
    local here folder own='' python version stamp lock
    here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
    folder="${VIRTUAL_ENV:-$here/.venv}"
    if [[ "${folder##*/}" == .venv && "${folder%/*}" -ef "$here" ]]; then own=1; fi
    PYTHON="$folder/bin/python"
    # one stamp a set of files, so that tests and runs do not undo each other's
    stamp="$folder/installed-$(IFS=+; echo "$*")"
    if is_installed "$@"; then return; fi
    version="$(version_of "$PYTHON")"
    if [[ $own ]] && is_broken; then
        find_python
        mkdir -p "$folder" 2> /dev/null || true
        [[ -d "$folder" && -w "$folder" ]] || stop \
            "$folder cannot be written: make an environment elsewhere (\`$python -m venv --without-pip DIR\`)," \
            "activate it (\`source DIR/bin/activate\`), then run the same command again, with --work FOLDER"
    elif [[ ! $version ]]; then
        stop "VIRTUAL_ENV=$folder has no Python that runs; it or its Python was moved or deleted:" \
            'run `unset VIRTUAL_ENV`, then the same command again'
    elif ! is_new "$version"; then
        stop "Python 3.11 or newer is needed; found: Python $version in $folder:" \
            "$([[ $own ]] && echo "remove it (rm -r '$folder')" || echo 'leave it (`deactivate`)')," \
            "then run the same command again"
    fi
    lock="$folder/.lock"
    [[ -w "$folder" ]] || lock=/dev/null  # another user's, which may have all packages
    (
        # two commands started at once must not install over each other
        if command -v flock > /dev/null && ! flock -n 9; then
            say "waiting for another command that installs packages into $folder"
            flock 9 || true  # some file systems have no locks
        fi
        if is_installed "$@"; then exit; fi
        if [[ $own ]] && is_broken; then make_environment; fi
        say "installing packages into $folder (about 6 GB; a few minutes the first time)"
        install "$@" || stop "installing failed; see the lines above, then run the same command again"
        if [[ -w "$folder" ]]; then wanted "$@" > "$stamp"; fi
    ) 9> "$lock" || exit 2
}

version_of() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2> /dev/null || true; }
is_new() { [[ $1 ]] && ((${1%%.*} * 100 + ${1#*.} >= 311)); }
wanted() { echo "Python $(version_of "$PYTHON")"; (cd "$here" && cat "$@"); }
is_installed() { [[ -f "$stamp" && -x "$PYTHON" && "$(< "$stamp")" == "$(wanted "$@")" ]]; }
# its Python does not run, or was replaced by another version, as by an upgrade of the system
is_broken() { [[ ! -d "$folder/lib/python$(version_of "$PYTHON")" ]]; }
has_pip() { "$PYTHON" -m pip --version; }

find_python() {  # sets python
    for python in python3 python3.{11..14}; do
        if is_new "$(version_of "$python")"; then return; fi
    done
    stop "Python 3.11 or newer is needed; found: $(python3 --version 2> /dev/null || echo none)." \
        "Install one, or run \`uv venv --python 3.12 '$folder'\`; then run the same command again"
}

make_environment() {
    say "making $folder"
    rm -rf "$folder"/{bin,include,lib,lib64,pyvenv.cfg} "$folder"/installed-*
    # pip is added later: Debian's Python often has none to give, and would leave half an environment
    "$python" -m venv --without-pip "$folder" || stop "making $folder failed; see the lines above"
}

install() {
    local file arguments=(--quiet) package base
    for file in "$@"; do arguments+=(-r "$here/$file"); done
    # pip believes that a package is complete whose installation was killed; INSTALLER is written last
    for package in "$here"/.venv/lib/python*/site-packages/*.dist-info; do
        [[ ! -d "$package" || -f "$package/INSTALLER" ]] || rm -r "$package"
    done
    base="$("$PYTHON" -c 'import sys; print(sys._base_executable)')"
    if { has_pip || { "$PYTHON" -m ensurepip && has_pip; }; } &> /dev/null; then
        "$PYTHON" -m pip install --disable-pip-version-check "${arguments[@]}"
    elif command -v uv > /dev/null; then
        uv pip install --python "$PYTHON" "${arguments[@]}"
    elif "$base" -m pip --python "$PYTHON" --version &> /dev/null; then  # since pip 22.3
        "$base" -m pip --python "$PYTHON" install --disable-pip-version-check "${arguments[@]}"
    else
        stop "$folder has no pip, and there is no ensurepip or uv to install it: install uv, or run" \
            "\`sudo apt install python$(version_of "$PYTHON")-venv\`, then run the same command again"
    fi
}
