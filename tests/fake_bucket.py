"""Google Cloud Storage in memory, as far as gcsfs, TensorStore and Google's client ask for it: its JSON API over HTTP.

Objects have generations, and writes, reads and deletions their preconditions: TensorStore's transactions rest on them.
https://docs.cloud.google.com/storage/docs/json_api/v1
"""

import base64
import contextlib
import hashlib
import http.server
import itertools
import json
import pathlib
import re
import sys
import threading
import time
import urllib.parse
import uuid

ENVIRONMENT = {"GOOGLE_CLOUD_PROJECT": "project", "GOOGLE_AUTH_TOKEN_FOR_TESTING": "token"}


class Bucket:
    """The objects by name: nothing is told of `denied` ones, half of `cut` ones; `read` are those that were read."""

    def __init__(self):
        self.objects = {}
        self.denied = set()
        self.cut = set()
        self.read = []
        self.uploads = {}
        self.lock = threading.Lock()
        self.generations = itertools.count(time.time_ns() // 1000)

    def clear(self):
        """Nothing is in it, and nothing was asked."""
        for held in (self.objects, self.denied, self.cut, self.read, self.uploads):
            held.clear()

    def names(self, prefix=""):
        """Names of the objects, in order."""
        return sorted(name for name in list(self.objects) if name.startswith(prefix))

    def content(self, name):
        """An object's bytes."""
        return self.objects[name][1]

    def put(self, name, content, written_s=None):
        """Writes an object (now, or in that second of Unix time), and returns what the API says of it."""
        now = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(written_s))
        resource = {
            "kind": "storage#object", "id": name, "name": name, "bucket": "bucket", "size": str(len(content)),
            "generation": str(next(self.generations)), "metageneration": "1", "contentType": "application/octet-stream",
            "timeCreated": now, "updated": now, "etag": "e",
            "md5Hash": base64.b64encode(hashlib.md5(content).digest()).decode(),
        }  # fmt: skip
        self.objects[name] = resource, content
        return resource


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm, wbufsize = True, -1  # an answer is one packet, and is not waited for

    def do_GET(self):
        self.answer(self.get)

    def do_POST(self):
        self.answer(self.post)

    def do_PUT(self):
        self.answer(self.post)

    def do_DELETE(self):
        self.answer(self.delete)

    def answer(self, method):
        bucket = self.server.bucket
        url = urllib.parse.urlsplit(self.path)
        self.query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            self.body = b"".join(iter(self.chunk, b""))
        path = re.fullmatch(r"(?:/upload|/download|/resumable)?/storage/v1/b/([^/]+)(?:/(o))?(?:/(.+))?", url.path)
        if not path or path[1] != "bucket":
            return self.send(404, {"error": {"code": 404, "message": f"no such bucket: {url.path}"}})
        self.of_objects, self.name = path[2] == "o", urllib.parse.unquote(path[3] or "")
        with bucket.lock:
            method(bucket)

    def chunk(self):
        size = int(self.rfile.readline(), 16)
        content = self.rfile.read(size)
        self.rfile.readline()
        return content

    def get(self, bucket):
        if not self.of_objects:
            return self.send(200, {"kind": "storage#bucket", "name": "bucket", "id": "bucket", "location": "US"})
        if not self.name:
            return self.send(200, self.listing(bucket))
        if not self.allowed(bucket, self.name):
            return None
        if self.name not in bucket.objects:
            return self.send(404, {"error": {"code": 404, "message": f"No such object: {self.name}"}})
        resource, content = bucket.objects[self.name]
        if self.query.get("alt") != "media" and not self.path.startswith("/download"):
            return self.send(200, resource)
        bucket.read.append(self.name)
        if pathlib.PurePosixPath(self.name).name in bucket.cut:
            content = content[: len(content) // 2]
        headers = {"x-goog-generation": resource["generation"], "x-goog-stored-content-length": str(len(content))}
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not asked:
            return self.send(200, content, headers)
        first, last = int(asked[1]), min(int(asked[2] or len(content)), len(content) - 1)
        if first >= len(content):
            return self.send(416, b"", headers)
        return self.send(
            206, content[first : last + 1], headers | {"Content-Range": f"bytes {first}-{last}/{len(content)}"}
        )

    def listing(self, bucket):
        prefix, delimiter = self.query.get("prefix", ""), self.query.get("delimiter", "")
        first, end = self.query.get("startOffset", ""), self.query.get("endOffset", "")
        items, prefixes = [], set()
        for name in bucket.names(prefix):
            if name < first or (end and name >= end):
                continue
            below, found, _ = name[len(prefix) :].partition(delimiter) if delimiter else (name, "", "")
            if found:
                prefixes.add(prefix + below + delimiter)
            else:
                items.append(bucket.objects[name][0])
        return {"kind": "storage#objects", "items": items, "prefixes": sorted(prefixes)}

    def post(self, bucket):
        if self.path.startswith("/resumable"):
            name, parts = bucket.uploads[self.query["upload_id"]]
            parts.append(self.body)
            last, total = re.fullmatch(r"bytes (?:\d+-(\d+)|\*)/(\d+|\*)", self.headers["Content-Range"]).groups()
            if total == "*" or int(last or 0) + 1 < int(total):
                return self.send(308, b"", {"Range": f"bytes=0-{sum(map(len, parts)) - 1}"})
            return self.send(200, bucket.put(name, b"".join(parts)))
        kind = self.query["uploadType"]
        if kind == "media":
            name, content = self.query["name"], self.body
        elif kind == "multipart":
            boundary = re.search(r'boundary="?([^";]+)', self.headers["Content-Type"])[1].encode()
            _, described, attached, _ = re.split(rb"(?:\r?\n)?--" + re.escape(boundary), self.body)
            name = json.loads(re.split(rb"\r?\n\r?\n", described, maxsplit=1)[1])["name"]
            content = re.split(rb"\r?\n\r?\n", attached, maxsplit=1)[1]
        else:
            name, upload = json.loads(self.body)["name"], uuid.uuid4().hex
            if not self.allowed(bucket, name):
                return None
            bucket.uploads[upload] = name, []
            where = f"http://{self.headers['Host']}/resumable/storage/v1/b/bucket/o?upload_id={upload}"
            return self.send(200, b"", {"Location": where})
        if not self.allowed(bucket, name):
            return None
        return self.send(200, bucket.put(name, content))

    def delete(self, bucket):
        if not self.allowed(bucket, self.name):
            return None
        if bucket.objects.pop(self.name, None) is None:
            return self.send(404, {"error": {"code": 404, "message": f"No such object: {self.name}"}})
        return self.send(204, b"")

    def allowed(self, bucket, name):
        """Whether the request may go on; otherwise it is answered."""
        if pathlib.PurePosixPath(name).name in bucket.denied:
            self.send(403, {"error": {"code": 403, "message": f"403 {name}"}})
            return False
        now = bucket.objects[name][0]["generation"] if name in bucket.objects else "0"
        if self.query.get("ifGenerationMatch", now) != now:
            self.send(412, {"error": {"code": 412, "message": "conditionNotMet"}})
            return False
        if now != "0" and self.query.get("ifGenerationNotMatch") == now:
            self.send(304 if self.command == "GET" else 412, b"")
            return False
        return True

    def send(self, status, content, headers=()):
        if not isinstance(content, bytes):
            content = json.dumps(content).encode()
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json" if content[:1] == b"{" else "application/octet-stream")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        """Says nothing."""


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        """A killed client tells nothing; what is wrong here is told."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


@contextlib.contextmanager
def served():
    """A bucket that `gs://bucket` leads to, for processes with the environment that is returned with it."""
    server = Server(("127.0.0.1", 0), Handler)
    server.bucket = Bucket()
    url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.bucket, {**ENVIRONMENT, "STORAGE_EMULATOR_HOST": url, "TENSORSTORE_GCS_HTTP_URL": url}
    finally:
        server.shutdown()
        server.server_close()
