"""The files a page loads: style sheets, scripts, fonts. Served under a name that changes with them.

`site` mounts the route and gives `Assets.url` to the templates. Because the address holds a digest
of all files, a browser may keep them for good.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_FOLDER = Path(__file__).parent / "static"

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".woff2": "font/woff2",
    ".svg": "image/svg+xml",
    ".LICENSE": "text/plain; charset=utf-8",
}

_HEADERS = {
    "Cache-Control": "public, max-age=31536000, immutable",
    "X-Content-Type-Options": "nosniff",
}


class Assets:
    """All files below `static`, read once."""

    def __init__(self) -> None:
        found = sorted(p for p in _FOLDER.rglob("*") if p.suffix in _TYPES)
        self._files = {str(p.relative_to(_FOLDER)): p.read_bytes() for p in found}
        digest = hashlib.sha256()
        for name, content in self._files.items():
            digest.update(f"{name} {len(content)}\n".encode())
            digest.update(content)
        self._base = f"/static/{digest.hexdigest()[:12]}/"

    def url(self, name: str) -> str:
        """Return the address of a file below `static`."""
        if name not in self._files:
            raise KeyError(name)
        return self._base + name

    def route(self) -> Route:
        """Return the route that serves the files."""
        return Route("/static/{digest}/{name:path}", self.serve)

    async def serve(self, request: Request) -> Response:
        """Answer a file; the digest in the address is only there to be new."""
        name = request.path_params["name"]
        content = self._files.get(name)
        if content is None:
            return Response("There is no such file.", 404, media_type="text/plain")
        kind = _TYPES[Path(name).suffix]
        return Response(content, headers={**_HEADERS, "Content-Type": kind})
