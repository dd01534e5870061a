"""Fetch a published checkpoint from the Hugging Face hub or from its makers' own address."""

from __future__ import annotations

import errno
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.request import Request, urlopen

from leopart.errors import LeopartError
from leopart.files import sha256, whole_file
from leopart.models.weights.hub import quick_hub
from leopart.models.weights.spec import BackboneSpec, FileSource


class UnreachableError(LeopartError):
    """One source did not deliver its file; another one may."""


def local_folder(spec: BackboneSpec, cache: Path) -> Path:
    """Folder in which files that were downloaded by hand are looked for."""
    return cache / spec.weights


def download(source: FileSource, folder: Path) -> Path:
    """The file of a source.

    The hub's own client does the work, so its cache, its mirror (`HF_ENDPOINT`), its login and its offline
    switch (`HF_HUB_OFFLINE`) hold.

    Args:
        source: where the file is published.
        folder: where to put a file that does not come from the hub.

    Raises:
        UnreachableError: the file could not be had from there.
        LeopartError: what came is not what was published, or the disk is full.
    """
    if source.repository:
        file = _from_hub(source)
    elif source.direct:
        file = _from_address(source, folder)
    else:
        message = f"{source.file} has to be downloaded with a browser from {source.url}"
        raise UnreachableError(message)
    check_published(file, source)
    return file


def check_published(file: Path, source: FileSource) -> None:
    """Refuse a file whose hash is known to be another one.

    Raises:
        LeopartError: the SHA-256 does not begin as it should.
    """
    if source.sha256 and not (found := sha256(file)).startswith(source.sha256):
        message = (
            f"{file} is not the published {source.file}: its SHA-256 is {found}, which should begin with "
            f"{source.sha256}; it was not used: delete it and get it again from {source.place}"
        )
        raise LeopartError(message)


def _from_hub(source: FileSource) -> Path:
    import huggingface_hub
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError

    # The bases are those of the HTTP library it uses, which differs between versions.
    failures: tuple[type[BaseException], ...] = (OSError, *HfHubHTTPError.__bases__)
    try:
        file = f"{source.folder}/{source.file}" if source.folder else source.file
        with quick_hub():
            return Path(huggingface_hub.hf_hub_download(source.repository, file))
    except GatedRepoError as error:
        message = f"{source.place} is gated: accept its terms there and run `hf auth login`"
        raise UnreachableError(message) from error
    except failures as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            message = (
                f"cannot write {source.file} of {source.place} into the hub's cache: {error.strerror}; free "
                "some space or set HF_HOME to another folder"
            )
            raise LeopartError(message) from error
        message = f"{source.repository} on the hub: {_first_line(error)}"
        raise UnreachableError(message) from error


def _from_address(source: FileSource, folder: Path) -> Path:
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        message = f"{source.url} was not asked, since HF_HUB_OFFLINE is set"
        raise UnreachableError(message)
    file = folder / source.file
    try:
        request = Request(source.url, headers={"User-Agent": "leopart"})  # noqa: S310 - of the registry
        with (
            urlopen(request) as answer,  # noqa: S310 - an address of the registry
            whole_file(file) as out,
        ):
            promised, came = answer.headers.get("Content-Length"), 0
            while chunk := _read(answer, source):
                out.write(chunk)
                came += len(chunk)
            if promised is not None and came != int(promised):
                message = f"{source.url}: the connection broke after {came} of {promised} bytes"
                raise UnreachableError(message)
    except (OSError, HTTPException) as error:
        message = f"{source.url}: {_first_line(error)}"
        raise UnreachableError(message) from error
    return file


def _read(answer: HTTPResponse, source: FileSource) -> bytes:
    """The next megabyte; here a fault of the network is distinguished from a fault of the disk."""
    try:
        return answer.read(2**20)
    except (OSError, HTTPException) as error:
        message = f"{source.url}: {_first_line(error)}"
        raise UnreachableError(message) from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def by_hand(spec: BackboneSpec, cache: Path, failures: list[str]) -> str:
    """What to say when no source gave the weights: why, which file to put where, and what to run then."""
    folder = local_folder(spec, cache)
    gated = " Its terms must be accepted first." if spec.gated else ""
    files = "; or ".join(f"{source.file} from {source.place}" for source in spec.files)
    return (
        f"the weights of {spec.name} could not be fetched ({'; '.join(failures)}). On a machine with network "
        f"get {files}.{gated} Put it into {folder} under that name and run "
        f"`leopart weights fetch {spec.name}` again"
    )
