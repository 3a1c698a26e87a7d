"""A server in this process, with networks that need no JAX, and requests to it."""

import contextlib
import http.client
import json
import threading
import types

import numpy as np

from csst_jax.prediction.predicted import Predicted
from csst_jax.serving.answers import Limits, Networks
from csst_jax.serving.server import Server

NAMES, PALETTE = ("road", "car", "sky"), ((128, 64, 128), (0, 0, 142), (70, 130, 180))


class Striped:
    """Sees three stripes from left to right; a second one can see them the other way round."""

    def __init__(self, names=NAMES, palette=PALETTE, mirrored=False):
        self.shown_as = (names, palette)
        self.description = types.SimpleNamespace(network="striped")
        self._mirrored = mirrored

    def predict(self, image, window_px=0):
        height, width = image.shape[:2]
        classes = np.tile((np.arange(width) * 3 // width).astype(np.uint8), (height, 1))
        classes = classes[:, ::-1].copy() if self._mirrored else classes
        confidence = np.full((height, width), 0.75, np.float32)
        return Predicted(image, classes, confidence, *self.shown_as)


@contextlib.contextmanager
def serving(*networks, max_bytes=100_000, max_pixels=1_000_000):
    networks = networks or (Striped(),)
    named = [(f"runs/{number}", network) for number, network in enumerate(networks)]
    server = Server("127.0.0.1", 0, Networks(named, Limits(max_bytes, max_pixels)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def ask(server, method, path, body=None, **headers):
    """Status, headers, and what was answered: text, or JSON's value."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=20)
    connection.putrequest(method, path, skip_host="Host" in headers)
    if body is not None and "Content-Length" not in headers:
        headers["Content-Length"] = str(len(body))
    for name, value in headers.items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders(body)
    with contextlib.closing(connection):
        found = connection.getresponse()
        text = found.read().decode()
    return (
        found.status,
        found.headers,
        json.loads(text) if found.headers["Content-Type"] == "application/json" else text,
    )
