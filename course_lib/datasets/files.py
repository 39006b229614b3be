"""Finding and opening the files of a log: plain, gzipped or zipped, and torn ones by name."""

from __future__ import annotations

import gzip
import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from course_lib.errors import CourseError

PACKED = ("", ".gz", ".zip")


def data_folder() -> Path | None:
    """The folder of logs that are already here (``COURSE_DATA``), or None.

    Raises:
        CourseError: If ``COURSE_DATA`` names no folder.
    """
    named = os.environ.get("COURSE_DATA")
    if not named:
        return None
    folder = Path(named).expanduser()
    if not folder.is_dir():
        raise CourseError(
            f"COURSE_DATA names {named!r}, which is no folder; correct it or unset it."
        )
    return folder


def find(name: str, folders: list[Path]) -> Path | None:
    """The first file called `name`, packed or not, in `folders`; None where there is none."""
    for folder in folders:
        for ending in PACKED:
            path = folder / f"{name}{ending}"
            if path.is_file():
                return path
    return None


@contextmanager
def open_bytes(path: Path, member: str | None = None) -> Iterator[BinaryIO]:
    """Open a file for reading bytes, unpacking gzip and zip on the way.

    Args:
        path: The file; ``.gz`` and ``.zip`` are unpacked.
        member: The file wanted from a zip; without it the zip must hold one file.

    Raises:
        CourseError: If the file is torn, no archive, or does not hold `member`.
    """
    try:
        if path.suffix == ".gz":
            with gzip.open(path, "rb") as stream:
                yield stream
        elif path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive, archive.open(_member(archive, member)) as stream:
                yield stream
        else:
            with path.open("rb") as stream:
                yield stream
    except (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile) as error:
        raise CourseError(
            f"File {path.name} is torn or no real {path.suffix[1:]} file ({error}); "
            "fetch it again, whole."
        ) from error


def _member(archive: zipfile.ZipFile, member: str | None) -> str:
    files = [name for name in archive.namelist() if not name.endswith("/")]
    files = [name for name in files if not name.startswith("__MACOSX")]
    wanted = [name for name in files if member is None or Path(name).name == member]
    if len(wanted) != 1:
        raise CourseError(
            f"Archive {Path(archive.filename or '').name} should hold "
            f"{member or 'exactly one file'}, but holds {', '.join(files) or 'nothing'}."
        )
    return wanted[0]
