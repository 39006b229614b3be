"""Finding and opening the files of a log: plain, gzipped or zipped, and torn ones by name."""

from __future__ import annotations

import gzip
import os
import warnings
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


def cache_folder() -> Path:
    """Where downloads are kept: ``COURSE_CACHE``, or the user's cache folder."""
    named = os.environ.get("COURSE_CACHE")
    if named:
        return Path(named).expanduser()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tqdm's, that this notebook lacks its widgets
        import pooch

    return Path(pooch.os_cache("sequence-course"))


def candidates(name: str, folders: list[Path]) -> Iterator[Path]:
    """Every file called `name`, packed or not, in `folders`, in that order."""
    for folder in folders:
        for ending in PACKED:
            path = folder / f"{name}{ending}"
            if path.is_file():
                yield path


@contextmanager
def open_bytes(path: Path, member: str | None = None) -> Iterator[BinaryIO]:
    """Open a file for reading bytes, unpacking gzip and zip on the way.

    Args:
        path: The file; ``.gz`` and ``.zip`` are unpacked.
        member: The file wanted from a zip; a zip that holds one file only needs none.

    Raises:
        CourseError: If the file is torn, no archive, or does not hold `member`.
    """
    kind = path.suffix.lower()
    try:
        if kind == ".gz":
            with gzip.open(path, "rb") as stream:
                yield stream
        elif kind == ".zip":
            with zipfile.ZipFile(path) as archive, archive.open(_member(archive, member)) as stream:
                yield stream
        else:
            with path.open("rb") as stream:
                yield stream
    except (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile) as error:
        raise CourseError(
            f"File {path.name} is torn or no real {kind[1:]} file ({error}); fetch it again, whole."
        ) from error


def first_line(path: Path, member: str | None = None, limit: int = 4096) -> str:
    """The first line of a text file, packed or not; at most `limit` bytes of it.

    Raises:
        CourseError: As `open_bytes`.
    """
    with open_bytes(path, member) as stream:
        line = stream.readline(limit)
    return line.decode("utf-8-sig", errors="replace").rstrip("\r\n")


def _member(archive: zipfile.ZipFile, member: str | None) -> str:
    files = [
        name
        for name in archive.namelist()
        if not name.endswith("/") and not name.startswith("__MACOSX")
    ]
    wanted = [name for name in files if member and Path(name).name == member]
    wanted = wanted or (files if len(files) == 1 else [])
    if len(wanted) != 1:
        raise CourseError(
            f"Archive {Path(archive.filename or '').name} should hold "
            f"{member or 'exactly one file'}, but holds {', '.join(files[:5]) or 'nothing'}."
        )
    return wanted[0]
