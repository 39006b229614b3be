"""The kernel that executes notebooks here: always this interpreter, whatever else is installed."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager, KernelManager

KERNEL_NAME = "python3"


class _ThisInterpreter:
    """Let ``python3`` stand for the running interpreter.

    A person's own kernel specifications may give that name to another environment, in which
    the course is not installed.
    """

    @property
    def kernel_spec(self) -> KernelSpec:
        """The specification of a kernel of this interpreter."""
        return KernelSpec(
            argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
            display_name="Python 3",
            language="python",
        )


class CourseKernelManager(_ThisInterpreter, AsyncKernelManager):
    """Start a kernel of this interpreter, for nbclient and papermill."""


class BlockingKernelManager(_ThisInterpreter, KernelManager):
    """The same without an event loop."""


def use_course_library() -> None:
    """Let the kernels that this process starts import `course_lib`, installed or not."""
    library = str(Path(__file__).parents[2])
    path = os.environ.get("PYTHONPATH", "")
    if library not in path.split(os.pathsep):
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [library, path]))
