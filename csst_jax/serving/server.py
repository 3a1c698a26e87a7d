"""The page's server: three addresses, no files, and no requests from other pages (docs/adr/0018-own-page.md)."""

from __future__ import annotations

import base64
import gzip
import hashlib
import http.server
import importlib.resources
import ipaddress
import json
import re
import socket
import traceback
import urllib.parse
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from csst_jax.data.picture_file import Bad
from csst_jax.serving.answers import Busy
from csst_jax.types import CsstError

if TYPE_CHECKING:
    from csst_jax.serving.answers import Networks

_TIMEOUT_S = 30
_PIECE_BYTES = 1 << 16  # of an answer; each has the whole timeout, and a slow line takes minutes for all of them
_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Server(http.server.ThreadingHTTPServer):
    """Serves the page, `networks` and `predict` until it is shut down."""

    daemon_threads = True

    def __init__(self, host: str, port: int, networks: Networks) -> None:
        """Listens.

        Args:
          host: name or address to listen at.
          port: 0 for any that is free.
          networks: what answers.

        Raises:
          OSError: the port is taken, or the address is none of this machine's.
        """
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.networks, self.host = networks, host
        page = importlib.resources.files("csst_jax.serving").joinpath("page.html").read_bytes()
        self.page, self.policy = page, _policy(page.decode())
        super().__init__((host, port), _Handler)

    def is_own_name(self, host: str) -> bool:
        """Whether a request may call the server so.

        Another page can have its own name lead to this machine (DNS rebinding), and would then read what this server
        answers. It cannot so with an address, nor with `localhost`.
        """
        try:
            name = urllib.parse.urlsplit(f"//{host}").hostname or ""
            if name in ("localhost", self.host.lower()):
                return True
            ipaddress.ip_address(name)
        except ValueError:  # no address, or nothing that could be a host
            return False
        return True


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "csst_jax", ""
    timeout = _TIMEOUT_S
    server: Server

    def do_GET(self) -> None:
        path = urllib.parse.urlsplit(self.path).path
        if not self._is_welcome():
            return
        if path == "/":
            self._answer(HTTPStatus.OK, self.server.page, "text/html; charset=utf-8")
        elif path == "/networks":
            self._json(HTTPStatus.OK, self.server.networks.described())
        else:
            self._refuse(HTTPStatus.NOT_FOUND, "there is no such page; the one that is there is /.")

    def do_POST(self) -> None:
        if not self._is_welcome():
            return
        address = urllib.parse.urlsplit(self.path)
        number = urllib.parse.parse_qs(address.query).get("network", [""])[0]
        if address.path != "/predict":
            self._refuse(HTTPStatus.NOT_FOUND, "pictures go to /predict.")
        elif not re.fullmatch("[0-9]{1,3}", number) or int(number) >= len(self.server.networks):
            self._refuse(HTTPStatus.BAD_REQUEST, f"network={number[:20]!r}: no such network; load the page again.")
        elif (data := self._upload()) is not None:
            self._predict(int(number), data)

    def _predict(self, number: int, data: bytes) -> None:
        try:
            found = self.server.networks.predict(number, data)
        except (Bad, CsstError) as error:
            self._refuse(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
        except Busy:
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "other pictures are waiting already; try again in a moment.")
        except Exception:  # the page is told that it failed, and whoever runs the server why
            traceback.print_exc()
            self._refuse(
                HTTPStatus.INTERNAL_SERVER_ERROR, "the prediction failed; the terminal of the server says why."
            )
        else:
            print(f"{found['width']}x{found['height']} px: {found['seconds']:.2f} s", flush=True)
            self._json(HTTPStatus.OK, found)

    def _is_welcome(self) -> bool:
        """Refuses requests that another page made, or that reached this server by a name that is not its own."""
        host, origin = self.headers.get("Host", ""), self.headers.get("Origin")
        if not self.server.is_own_name(host):
            self._refuse(
                HTTPStatus.MISDIRECTED_REQUEST,
                f"this server is not {host[:100]!r}; open it by its address or localhost.",
            )
        elif origin is not None and urllib.parse.urlsplit(origin).netloc != host:
            self._refuse(HTTPStatus.FORBIDDEN, "requests of other pages are refused.")
        else:
            return True
        return False

    def _upload(self) -> bytes | None:
        length, most = self.headers.get("Content-Length", ""), self.server.networks.limits.max_bytes
        if not re.fullmatch("[0-9]{1,18}", length) or "Transfer-Encoding" in self.headers:
            self._refuse(HTTPStatus.LENGTH_REQUIRED, "the upload must say its length.")
        elif int(length) > most:
            self._refuse(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"{int(length):,} bytes; {most:,} are the most that is taken (--max_upload_mb).",
            )
        else:
            data = self.rfile.read(int(length))
            if len(data) == int(length):
                return data
            self._refuse(HTTPStatus.BAD_REQUEST, "the upload was cut off; try again.")
        return None

    def _refuse(self, status: HTTPStatus, why: str) -> None:
        self.close_connection = True  # what it would still send is not read
        self._json(status, {"error": why})

    def _json(self, status: HTTPStatus, value: Any) -> None:
        self._answer(status, json.dumps(value).encode(), "application/json")

    def _answer(self, status: HTTPStatus, body: bytes, kind: str) -> None:
        zipped = "gzip" in self.headers.get("Accept-Encoding", "")
        body = gzip.compress(body, compresslevel=1) if zipped else body
        self.send_response(status)
        headers = {
            "Content-Type": kind,
            "Content-Length": str(len(body)),
            "Content-Security-Policy": self.server.policy,
        }
        headers |= _HEADERS | ({"Content-Encoding": "gzip"} if zipped else {})
        headers |= {"Connection": "close"} if self.close_connection else {}
        for name, text in headers.items():
            self.send_header(name, text)
        try:
            self.end_headers()
            for begin in range(0, len(body), _PIECE_BYTES):
                self.wfile.write(body[begin : begin + _PIECE_BYTES])
        except (ConnectionError, TimeoutError) as error:
            self.close_connection = True
            why = "the line is too slow" if isinstance(error, TimeoutError) else "the page was closed"
            print(f"an answer of {len(body):,} bytes was not delivered: {why} ({error})", flush=True)

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing of requests; predictions are told."""


def _policy(page: str) -> str:
    """Lets a browser run this page's own script and style, and load nothing from anywhere."""

    def of(tag: str) -> str:
        inside = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.S)
        return " ".join(
            f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in inside
        )

    return (
        f"default-src 'none'; script-src {of('script')}; style-src {of('style')}; img-src data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
