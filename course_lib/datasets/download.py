"""Fetching the files of a published log once, into the user's cache.

A download that stops keeps what it has in ``NAME.part`` and goes on from there next time; the
file gets its own name only when it is whole and its checksum is right.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from course_lib.datasets.cards import Remote
from course_lib.errors import CourseError

if TYPE_CHECKING:
    import requests

TIMEOUT = (10, 60)  # seconds to connect, seconds without a byte
BLOCK = 1 << 16
REMEMBERED = "checksums.json"


class Torn(CourseError):
    """The connection ended before the file did."""


class ResumingDownloader:
    """A pooch downloader over HTTP that goes on where the last attempt stopped.

    Args:
        part: Where the unfinished file is kept between attempts.
        progress: Show a progress bar (on a terminal or in a notebook).
    """

    def __init__(self, part: Path, progress: bool = True) -> None:
        self.part = part
        self.validator = part.with_name(part.name + ".validator")
        self.progress = progress

    def __call__(
        self, url: str, output_file: str, pooch: Any, check_only: bool = False
    ) -> bool | None:
        """Download `url` to `output_file`; called by pooch.

        Raises:
            Torn: If the connection ended early; the part stays.
            requests.RequestException: If the server cannot be reached or refuses.
        """
        import requests

        if check_only:
            return requests.head(url, timeout=TIMEOUT, allow_redirects=True).ok
        have = self.part.stat().st_size if self.part.exists() else 0
        with requests.get(
            url, stream=True, timeout=TIMEOUT, headers=self._headers(have)
        ) as response:
            if response.status_code == 416:  # nothing left to send, or the part is not of this file
                total = response.headers.get("Content-Range", "").rpartition("/")[2]
                if total != str(have):
                    self.forget()
                    return self(url, output_file, pooch)
            else:
                response.raise_for_status()
                self._receive(response, have if response.status_code == 206 else 0)
        os.replace(self.part, output_file)
        self.validator.unlink(missing_ok=True)
        return None

    def _headers(self, have: int) -> dict[str, str]:
        headers = {"Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
            if self.validator.exists():
                # the server sends all of it where the file has changed since
                headers["If-Range"] = self.validator.read_text(encoding="ascii")
        return headers

    def _receive(self, response: requests.Response, start: int) -> None:
        import requests
        from tqdm.auto import tqdm

        stamp = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
        if stamp and not stamp.startswith("W/"):
            self.validator.write_text(stamp, encoding="ascii")
        length = response.headers.get("Content-Length")
        total = None if length is None else start + int(length)
        bar = tqdm(
            total=total,
            initial=start,
            unit="B",
            unit_scale=True,
            desc=self.part.name.removesuffix(".part"),
            disable=None if self.progress else True,
        )
        reason = ""
        with bar, self.part.open("r+b" if start else "wb") as stream:
            stream.seek(start)
            try:
                for block in response.iter_content(BLOCK):
                    stream.write(block)
                    bar.update(len(block))
            except requests.RequestException as error:
                reason = f" ({type(error).__name__})"
            stream.truncate()
            got = stream.tell()
        if reason or (total is not None and got != total):
            of = "" if total is None else f" of {total:,}"
            raise Torn(
                f"The download of {self.part.name.removesuffix('.part')} stopped after "
                f"{got:,}{of} bytes{reason}; run it again and it goes on from there."
            )

    def forget(self) -> None:
        """Throw away what an earlier attempt left."""
        self.part.unlink(missing_ok=True)
        self.validator.unlink(missing_ok=True)


def fetch_file(remote: Remote, folder: Path, progress: bool = True) -> Path:
    """Fetch one file into `folder` unless it is there already, whole and right.

    Args:
        remote: What to fetch; its address must be known.
        folder: Where to keep it, made if missing.
        progress: Show a progress bar.

    Returns:
        The file.

    Raises:
        CourseError: If the server cannot be reached, the file is torn, or its checksum or size
            is wrong; nothing with the file's own name is left then.
    """
    import pooch
    import requests

    pooch.get_logger().setLevel(logging.WARNING)
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / remote.name
    known = remote.checksum or _remembered(folder).get(remote.name)
    downloader = ResumingDownloader(folder / f"{remote.name}.part", progress)
    address = str(remote.address)
    try:
        pooch.retrieve(
            address, known_hash=known, fname=remote.name, path=folder, downloader=downloader
        )
    except Torn:
        raise
    except requests.RequestException as error:
        status = getattr(error.response, "status_code", None)
        why = f"answers {status}" if status else f"cannot be reached ({type(error).__name__})"
        raise CourseError(
            f"{remote.name} cannot be fetched, {urlsplit(address).netloc} {why}; download "
            f"{address} by hand and put it, as it is, into {folder}."
        ) from error
    except ValueError as error:  # pooch's word for a wrong checksum
        downloader.forget()
        raise CourseError(
            f"{remote.name} from {address} does not have the checksum {known}: it was changed or "
            "damaged on its way, so it was thrown away; fetch it again, or compare it by hand."
        ) from error
    if remote.size is not None and target.stat().st_size != remote.size:
        found = target.stat().st_size
        target.unlink()
        raise CourseError(
            f"{remote.name} from {address} has {found:,} bytes instead of {remote.size:,}, so it "
            "was thrown away; fetch it again."
        )
    if known is None:
        _remember(folder, remote.name, f"sha256:{_sha256(target)}")
    return target


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _remembered(folder: Path) -> dict[str, str]:
    path = folder / REMEMBERED
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _remember(folder: Path, name: str, checksum: str) -> None:
    known = _remembered(folder) | {name: checksum}
    temporary = folder / f".{REMEMBERED}.{os.getpid()}"
    temporary.write_text(json.dumps(known, indent=1, sort_keys=True), encoding="utf-8")
    os.replace(temporary, folder / REMEMBERED)
