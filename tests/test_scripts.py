"""What the scripts do before they install anything, and when they install again; no package is fetched here."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

STUB = f"""#!/bin/sh
case "$1 $2" in
    "-c "*) exec {sys.executable} "$@" ;;
    "-m venv") for folder; do :; done; mkdir -p "$folder/bin"; cp "$0" "$folder/bin/python" ;;
esac
echo "$@" >>calls
test ! -e broken
"""
"""An interpreter that writes down what it is asked to do."""


class Checkout:
    """A folder with venv.sh, and a stub for an interpreter."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        (folder / "pyproject.toml").write_text("[project]")
        self.write_stub("python", STUB)

    def write_stub(self, name: str, text: str) -> Path:
        stub = self.folder / name
        stub.write_text(text)
        stub.chmod(0o755)
        return stub

    def use_venv(self, extra: str = "dev", interpreter: str = "./python") -> tuple[str, list[str]]:
        """What use_venv puts into $bin, and what it had the interpreter do."""
        script = f". {ROOT}/scripts/venv.sh; use_venv {extra}; echo $bin"
        command = ["bash", "-euo", "pipefail", "-c", script, "scripts/test"]
        run = subprocess.run(
            command,
            cwd=self.folder,
            env={"PATH": "/usr/bin:/bin", "PYTHON": interpreter},
            capture_output=True,
            text=True,
        )
        calls = self.folder / "calls"
        done = calls.read_text().splitlines() if calls.exists() else []
        calls.unlink(missing_ok=True)
        return (run.stdout.splitlines()[-1] if run.returncode == 0 else run.stderr), done


VENV = f".venv-{sys.version_info.major}.{sys.version_info.minor}"


def install(extra: str) -> str:
    return f"-m pip install --quiet --disable-pip-version-check --editable .[{extra}]"


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path / "checkout")


def test_it_installs_once(checkout: Checkout) -> None:
    assert checkout.use_venv() == (f"{VENV}/bin", [f"-m venv {VENV}", install("dev")])
    assert checkout.use_venv() == (f"{VENV}/bin", [])


def test_each_extra_is_installed_once(checkout: Checkout) -> None:
    checkout.use_venv("dev")
    assert checkout.use_venv("lmdb")[1] == [install("lmdb")]
    assert checkout.use_venv("dev")[1] == []


def test_it_installs_again_when_the_project_file_changes(checkout: Checkout) -> None:
    checkout.use_venv()
    (checkout.folder / "pyproject.toml").write_text("[project] # with another dependency")
    assert checkout.use_venv()[1] == [install("dev")]
    assert checkout.use_venv()[1] == []


def test_a_checkout_that_was_moved_gets_a_new_environment(checkout: Checkout, tmp_path: Path) -> None:
    checkout.use_venv()
    checkout.folder = Path(shutil.move(checkout.folder, tmp_path / "moved"))
    assert checkout.use_venv()[1] == [f"-m venv --clear {VENV}", install("dev")]


def test_an_installation_that_failed_is_repeated(checkout: Checkout) -> None:
    checkout.use_venv("lmdb")
    (checkout.folder / "broken").touch()
    assert checkout.use_venv()[1] == [install("dev")]
    (checkout.folder / "broken").unlink()
    assert checkout.use_venv() == (f"{VENV}/bin", [install("dev")])


def test_python_is_missing(checkout: Checkout) -> None:
    complaint, calls = checkout.use_venv(interpreter="python9.9")
    assert complaint == (
        "scripts/test: python9.9 is not there: jobq needs Python 3.11 or newer; "
        "PYTHON=/path/to/python names another one\n"
    )
    assert calls == []


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (
            "sys.version_info = (3, 10, 4)",
            "jobq needs Python 3.11 or newer, and this is 3.10: PYTHON=/path/to/python names another one\n",
        ),
        (
            "sys.modules['ensurepip'] = None; sys.version_info = (3, 12, 1)",
            "Python 3.12 comes without the module ensurepip, which makes virtual environments: "
            "on Debian and Ubuntu, install python3.12-venv\n",
        ),
    ],
)
def test_python_will_not_do(checkout: Checkout, change: str, complaint: str) -> None:
    checkout.write_stub(
        "python", f'#!/bin/sh\nexec {sys.executable} -c "import sys; {change}; exec(sys.argv.pop(1))" "$2"\n'
    )
    assert checkout.use_venv() == (complaint, [])


def test_help() -> None:
    run = subprocess.run([ROOT / "scripts" / "test", "--help"], capture_output=True, text=True, check=True)
    assert "scripts/test --deep" in run.stdout
    assert "#" not in run.stdout
