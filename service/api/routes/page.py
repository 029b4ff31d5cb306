"""The page: `/` and its files, served from memory."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

router = APIRouter(include_in_schema=False)

_FOLDER = Path(__file__).parents[2] / "page"
_INDEX = "index.html"
# Of index.html: replaced by a link for each module, as a browser finds one import after the other.
_MODULES = b"<!-- modulepreload: the service lists every module here -->"
_MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_HEADERS = {
    # Browsers revalidate each time (an empty 304): a file cached from an older release could break
    # the page.
    "Cache-Control": "no-cache",
    # No other origin, nothing inline. `blob:` is for the thumbnails of chosen photos.
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' blob:; object-src 'none'; base-uri 'none'; "
        "form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


@dataclass(frozen=True, slots=True)
class PageFile:
    content: bytes
    headers: dict[str, str]

    @staticmethod
    def of(name: str, content: bytes) -> PageFile:
        etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        media_type = _MEDIA_TYPES[Path(name).suffix]
        return PageFile(content, {**_HEADERS, "ETag": etag, "Content-Type": media_type})


def _read(folder: Path) -> dict[str, PageFile]:
    """The files of the page by their path below the folder."""
    contents = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.suffix in _MEDIA_TYPES
    }
    links = [
        f'<link rel="modulepreload" href="page/{name}">'.encode()
        for name in contents
        if name.endswith(".js")
    ]
    contents[_INDEX] = contents[_INDEX].replace(_MODULES, b"\n  ".join(links))
    return {name: PageFile.of(name, content) for name, content in contents.items()}


# Read once. A path is looked up here and never on the disk, so none can leave the folder.
_FILES = _read(_FOLDER)


@router.get("/")
async def index(request: Request) -> Response:
    return _respond(request, _FILES[_INDEX])


@router.get("/page/{path:path}")
async def file(request: Request, path: str) -> Response:
    if path not in _FILES:
        raise HTTPException(404)
    return _respond(request, _FILES[path])


def _respond(request: Request, page_file: PageFile) -> Response:
    cached = request.headers.get("if-none-match", "")
    if page_file.headers["ETag"] in cached:
        return Response(status_code=304, headers=page_file.headers)
    return Response(page_file.content, headers=page_file.headers)
