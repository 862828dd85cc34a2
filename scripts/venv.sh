# Sourced by the other scripts. use_venv EXTRA makes the virtual environment, installs this checkout with the extra, and
# sets $bin, the folder of its programs. It is .venv, or .venv-3.13 if PYTHON=python3.13 asks for that interpreter; what
# is there already is kept as long as pyproject.toml, the interpreter and the checkout's place are the same.

use_venv() {
    local extra=$1 interpreter=${PYTHON:-python3} fingerprint version folder made installed

    command -v "$interpreter" >/dev/null ||
        fail "$interpreter is not there: jobq needs Python 3.11 or newer; PYTHON=/path/to/python names another one"
    fingerprint=$("$interpreter" -c "$describe_interpreter" "$PWD") || exit 1
    version=${fingerprint%% *}
    folder=.venv${PYTHON:+-$version}
    bin=$folder/bin
    made=$folder/jobq-made
    installed=$folder/jobq-$extra

    if [[ $(cat "$made" 2>/dev/null) != "${fingerprint% *}" ]]; then
        echo "Making $folder with Python $version"
        local clear=
        [[ ! -e $made ]] || clear=--clear # only what was made here is emptied first
        "$interpreter" -m venv $clear "$folder" || fail "$folder could not be made"
        echo "${fingerprint% *}" >"$made"
    fi
    if [[ $(cat "$installed" 2>/dev/null) != "$fingerprint" ]]; then
        echo "Installing jobq[$extra] in $folder"
        "$bin/python" -m pip install --quiet --disable-pip-version-check --editable ".[$extra]"
        echo "$fingerprint" >"$installed"
    fi
}

fail() {
    echo "$0: $*" >&2
    exit 1
}

# Writes the version, what identifies interpreter and checkout, and the same with pyproject.toml.
describe_interpreter='
import hashlib, sys
version = ".".join(map(str, sys.version_info[:2]))
if sys.version_info < (3, 11):
    sys.exit(f"jobq needs Python 3.11 or newer, and this is {version}: PYTHON=/path/to/python names another one")
try:
    import ensurepip, venv
except ImportError as missing:
    sys.exit(f"Python {version} comes without the module {missing.name}, which makes virtual environments: "
             f"on Debian and Ubuntu, install python{version}-venv")
base = hashlib.sha256(repr((sys.version, sys.executable, sys.argv[1])).encode())
print(version, base.hexdigest(), hashlib.sha256(open("pyproject.toml", "rb").read()).hexdigest())
'
