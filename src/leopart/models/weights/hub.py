"""The Hugging Face hub: whether it can be reached, said in seconds instead of after minutes of retries."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as TookTooLong
from contextlib import contextmanager
from urllib.parse import urlsplit
from urllib.request import getproxies

#: Seconds for finding the host and connecting to it.
_PATIENCE = 5.0


@contextmanager
def quick_hub() -> Iterator[None]:
    """While inside, the hub's client asks its cache alone if the hub cannot be reached.

    Behind a proxy, or with the client's own offline switch (`HF_HUB_OFFLINE`), nothing is changed.
    """
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    if not before and not getproxies() and not reachable(constants.ENDPOINT):
        constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def reachable(address: str) -> bool:
    """Whether a connection to the host of a web address can be made within a few seconds."""
    parts = urlsplit(address)
    port = parts.port or (80 if parts.scheme == "http" else 443)
    pool = ThreadPoolExecutor(1)  # looking a name up has no time limit of its own
    try:
        pool.submit(_connect, parts.hostname or "", port).result(_PATIENCE)
    except (OSError, TookTooLong):
        return False
    finally:
        pool.shutdown(wait=False)
    return True


def _connect(host: str, port: int) -> None:
    socket.create_connection((host, port), timeout=_PATIENCE).close()
