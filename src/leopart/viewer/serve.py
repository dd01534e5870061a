"""`leopart view` and `leopart.view`: the page's server, on a port of its own, until it is closed."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
import webbrowser
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leopart.errors import LeopartError
from leopart.viewer.run import open_run

if TYPE_CHECKING:
    from leopart.segment.segmenter import Segmenter

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class PageServer:
    """The page of a run. The port is taken at once, and free again after `run` or `close`.

    Args:
        out: folder of `leopart segment`.
        host: address to listen on; any but a loopback one needs the token in `address`.
        port: 0 = one that is free.
        in_notebook: whether notebooks of this machine may show it in a frame.

    Raises:
        LeopartError: the folder cannot be used, the port is taken, or the extra `view` is not installed.
    """

    def __init__(
        self, out: Path, host: str = "127.0.0.1", port: int = 0, *, in_notebook: bool = False
    ) -> None:
        try:
            import uvicorn

            from leopart.viewer.app import make_app
            from leopart.viewer.guard import Access
            from leopart.viewer.work import Work
        except ImportError as error:
            message = f"the page needs {error.name}, which is not installed"
            raise LeopartError(f"{message}; run: pip install 'leopart[view]'") from error
        run = open_run(out)
        self._socket = _listening(host, port)
        port = self._socket.getsockname()[1]
        is_open = not _is_loopback(host)
        names = frozenset({host.lower(), socket.gethostname().lower()}) if is_open else LOOPBACK
        access = Access(names, port, open_to_network=is_open, in_notebook=in_notebook)
        try:
            self._work = Work(run)
            app = make_app(access, self._work)
        except BaseException:
            self._socket.close()
            raise
        shown = socket.gethostname() if host in ("0.0.0.0", "::") else host  # noqa: S104 - only compared
        shown = f"[{shown}]" if ":" in shown else shown
        self.address = f"http://{shown}:{port}/" + (f"?token={access.token}" if is_open else "")
        config = uvicorn.Config(
            app, log_level="critical", access_log=False, server_header=False, timeout_graceful_shutdown=2
        )
        self._server = uvicorn.Server(config)

    def run(self, *, ready: Callable[[], object] = lambda: None) -> None:
        """Serve until Ctrl-C, or until `close` in another thread; what is being written is finished.

        Args:
            ready: called when the page can be opened.
        """
        self._work.count()
        ready()
        try:
            asyncio.run(self._server.serve(sockets=[self._socket]))
        except KeyboardInterrupt:
            pass  # the way to end it
        finally:
            self._socket.close()
            self._work.writing.wait()

    def close(self) -> None:
        """End `run`."""
        self._server.should_exit = True


def serve(out: Path, host: str, port: int, *, browser: bool, say: Callable[[str], object]) -> None:
    """Serve a run's page until Ctrl-C.

    Args:
        out: folder of `leopart segment`.
        host: see `PageServer`.
        port: see `PageServer`.
        browser: whether to open it in the browser.
        say: takes the address.

    Raises:
        LeopartError: see `PageServer`.
    """
    server = PageServer(out, host, port)

    def ready() -> None:
        say(server.address)
        if browser:
            threading.Thread(target=webbrowser.open, args=(server.address,), daemon=True).start()

    server.run(ready=ready)


def show(
    run: str | Path | Segmenter,
    photos: str | Path | Sequence[str | Path] = (),
    *,
    out: str | Path | None = None,
    height: int = 720,
) -> Any:
    """Show the page of a run in a notebook, from a server in a thread of this process.

    A `Segmenter` that was loaded from the OUT folder of `leopart segment` shows that run. For any other,
    masks of its photos are written first.

    Args:
        run: folder that `leopart segment` wrote, or a fitted `Segmenter`.
        photos: with a `Segmenter`: folders or files to show; by default the files it was fitted on.
        out: with a `Segmenter`: new or empty folder for masks and labels; by default a new one below the
            system's folder for temporary files. It stays there, and the page shows its name.
        height: of the frame, in pixels.

    Returns:
        An IPython `IFrame`; without IPython, the address as text.

    Raises:
        LeopartError: see `PageServer`; what is given is no run, or the segmenter knows no photos.
    """
    server = PageServer(_folder(run, photos, out), in_notebook=True)
    threading.Thread(target=server.run, daemon=True).start()
    try:
        from IPython.display import IFrame
    except ImportError:
        return server.address
    return IFrame(server.address, "100%", height)


def _folder(
    run: str | Path | Segmenter, photos: str | Path | Sequence[str | Path], out: str | Path | None
) -> Path:
    if isinstance(run, str | Path):
        if photos or out:
            raise LeopartError("a run's folder has its photos and masks; leave photos= and out= out")
        return Path(run)
    from leopart.segment.segmenter import Segmenter
    from leopart.viewer.fitted import run_of

    if not isinstance(run, Segmenter):
        raise LeopartError("the page shows a run: give the OUT folder of `leopart segment`, or a Segmenter")
    given = [photos] if isinstance(photos, str | Path) else photos
    return run_of(run, [Path(one) for one in given], None if out is None else Path(out))


def _listening(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(256)
        except BaseException:
            listener.close()
            raise
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise LeopartError(
            f"cannot listen on {host}, port {port}: {reason}; choose another --port"
        ) from error
    return listener


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
