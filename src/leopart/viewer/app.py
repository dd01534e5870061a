"""The page's addresses. Photos and parts are asked for by number, so that no request names a path."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from importlib.resources import files
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from leopart.errors import LeopartError
from leopart.viewer import pictures
from leopart.viewer.draft import ConflictError
from leopart.viewer.exports import Tickets, export_config, formats, zipped
from leopart.viewer.guard import Access, Guard
from leopart.viewer.run import Run
from leopart.viewer.session import Session
from leopart.viewer.work import Work

_PAGE = files("leopart.viewer") / "page"
_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_DECODERS = 4
"""Photos that are decoded at a time, whatever the number of requests: each may take 100 MB."""


def make_app(access: Access, work: Work) -> Starlette:
    """The ASGI application of a run's page."""
    pages = _Pages(access, work)
    routes = [
        Route("/", pages.index),
        Route("/page/{name}", pages.asset),
        Route("/api/run", pages.run),
        Route("/api/labels", pages.labels),
        Route("/api/statistics", pages.statistics),
        Route("/api/order", pages.order),
        Route("/api/progress", pages.progress),
        Route("/api/change", pages.change, methods=["POST"]),
        Route("/api/save", pages.save, methods=["POST"]),
        Route("/api/split", pages.split, methods=["POST"]),
        Route("/api/export", pages.export, methods=["POST"]),
        Route("/api/download", pages.offer, methods=["POST"]),
        Route("/download/{ticket}", pages.download),
        Route("/photo/{size}/{index:int}", pages.photo),
        Route("/mask/{size}/{index:int}", pages.mask),
        Route("/patch/{part:int}/{index:int}", pages.patch),
    ]
    return Starlette(
        routes=routes,
        middleware=[Middleware(Guard, access=access), Middleware(GZipMiddleware, minimum_size=2000)],
        exception_handlers={LeopartError: _failed, HTTPException: _refused},
    )


class _Pages:
    def __init__(self, access: Access, work: Work) -> None:
        self._access, self._work = access, work
        self._session, self._tickets = Session(work), Tickets()
        self._decoding = threading.Semaphore(_DECODERS)

    @property
    def _run(self) -> Run:
        return self._session.run

    def index(self, _: Request) -> Response:
        self._session.reopen_if_stale()
        text = (_PAGE / "index.html").read_text(encoding="utf-8").replace("{{token}}", self._access.token)
        return Response(text, media_type="text/html")

    def asset(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in {item.name for item in _PAGE.iterdir()} or name.rpartition(".")[2] not in _TYPES:
            raise HTTPException(404, "there is no such file")
        return Response((_PAGE / name).read_bytes(), media_type=_TYPES[name.rpartition(".")[2]])

    def run(self, _: Request) -> Response:
        return JSONResponse(self._run.described() | {"formats": formats()})

    def labels(self, _: Request) -> Response:
        return JSONResponse(self._session.state())

    def statistics(self, _: Request) -> Response:
        found = self._work.statistics
        if found is None:
            return JSONResponse({"ready": False})
        return JSONResponse({"ready": True, "suggestions": self._work.suggestions} | found.described())

    def order(self, request: Request) -> Response:
        found, by = self._work.statistics, request.query_params.get("by")
        if by == "confidence":
            return JSONResponse(self._run.by_confidence())
        if found is None:
            raise LeopartError("the masks are still being counted; wait a moment")
        if by == "unusual":
            return JSONResponse(found.by_unusualness())
        part = self._part(request.query_params.get("part", ""))
        orders = {"area": found.by_area, "odd": found.by_oddness}
        if by not in orders:
            raise LeopartError("the order is confidence, unusual, area or odd; reload the page")
        return JSONResponse(orders[by](part))

    def progress(self, _: Request) -> Response:
        jobs = {"counting": self._work.counting.state(), "writing": self._work.writing.state()}
        return JSONResponse(jobs | {"version": self._session.draft.version, "ids": self._run.ids.fingerprint})

    async def change(self, request: Request) -> Response:
        values = await _values(request)
        return await run_in_threadpool(self._change, values)

    def _change(self, values: dict[str, Any]) -> Response:
        texts = {name: value for name, value in values.items() if isinstance(value, str)}
        try:
            notes = self._session.change(_version(values), texts.get("action", ""), texts)
        except KeyError as error:
            raise LeopartError(f"the change lacks {error}; reload the page") from error
        return JSONResponse(self._session.state() | {"said": notes})

    async def save(self, request: Request) -> Response:
        values = await _values(request)
        return await run_in_threadpool(self._save, values)

    def _save(self, values: dict[str, Any]) -> Response:
        self._session.save(_version(values), overwrite=values.get("overwrite") is True)
        return JSONResponse(self._session.state())

    async def split(self, request: Request) -> Response:
        values = await _values(request)
        return await run_in_threadpool(self._split, values)

    def _split(self, values: dict[str, Any]) -> Response:
        if values.get("back") is True:
            self._session.unsplit(_version(values))
        else:
            part, into = values.get("part"), values.get("into")
            if type(part) is not int or type(into) is not int:
                raise HTTPException(400, "the request names no part, or no number of pieces")
            self._session.split(_version(values), part, into)
        return JSONResponse({})

    async def export(self, request: Request) -> Response:
        values = await _values(request)
        return await run_in_threadpool(self._export, values)

    def _export(self, values: dict[str, Any]) -> Response:
        self._work.export(export_config(self._run, values))
        return JSONResponse({})

    async def offer(self, request: Request) -> Response:
        form = (await _values(request)).get("format")
        if not isinstance(form, str) or form not in formats():
            raise HTTPException(404, "there is no such format")
        return JSONResponse({"address": f"/download/{self._tickets.issue(form)}"})

    def download(self, request: Request) -> Response:
        form = self._tickets.format_of(request.path_params["ticket"])
        if form is None:
            raise HTTPException(404, "this address is no longer valid; choose Download in the page again")
        if self._work.writing.running:
            raise LeopartError("the page is still writing; fetch it then")
        headers = {
            "content-disposition": f'attachment; filename="leopart-{form}.zip"',
            "content-encoding": "identity",  # it is compressed already
        }
        return StreamingResponse(zipped(self._run, form), media_type="application/zip", headers=headers)

    def photo(self, request: Request) -> Response:
        content = self._picture(pictures.picture, request)
        return Response(content, media_type="image/jpeg", headers=_KEEP)

    def mask(self, request: Request) -> Response:
        content = self._picture(pictures.mask, request)
        headers = _KEEP | {"content-encoding": "gzip"}
        return Response(content, media_type="application/octet-stream", headers=headers)

    def _picture(self, make: Callable[[Run, int, str], bytes], request: Request) -> bytes:
        size = request.path_params["size"]
        if size not in pictures.SIZES:
            raise HTTPException(404, "there is no such size")
        index = self._photo(request)
        with self._decoding:
            return make(self._run, index, size)

    def patch(self, request: Request) -> Response:
        part, index = self._part(str(request.path_params["part"])), self._photo(request)
        with self._decoding:
            content = pictures.patch(self._run, part, index)
        return Response(content, media_type="image/jpeg", headers=_KEEP)

    def _photo(self, request: Request) -> int:
        index: int = request.path_params["index"]
        if index >= len(self._run.entries):
            raise HTTPException(404, "there is no such photo")
        return index

    def _part(self, text: str) -> int:
        if not (text.isascii() and text.isdecimal() and len(text) < 6 and int(text) <= self._run.ids.n_parts):
            raise HTTPException(404, "there is no such part")
        return int(text)


_KEEP = {"cache-control": "private, max-age=3600"}


async def _values(request: Request) -> dict[str, Any]:
    try:
        values = json.loads(await request.body())
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, "the request is not JSON") from error
    if not isinstance(values, dict):
        raise HTTPException(400, "the request is no JSON object")
    return values


def _version(values: dict[str, Any]) -> int:
    version = values.get("version")
    if not isinstance(version, int):
        raise HTTPException(400, "the request names no version")
    return version


def _failed(_: Request, error: Exception) -> Response:
    status = 409 if isinstance(error, ConflictError) else 422
    return JSONResponse({"error": str(error)}, status_code=status)


def _refused(_: Request, error: Exception) -> Response:
    status, detail = (error.status_code, error.detail) if isinstance(error, HTTPException) else (500, "")
    return JSONResponse({"error": detail}, status_code=status)
