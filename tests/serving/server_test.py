"""What the page's server answers, and all that it refuses."""

import base64
import pathlib
import socket
import threading
import time

import numpy as np
import pytest
from PIL import Image

from csst_jax import serve
from csst_jax.serving.server import _Handler
from tests.data_prep.breaking import file, photo, png_of
from tests.readme_test import problems, python_commands
from tests.serving.served import NAMES, PALETTE, Striped, ask, serving

PICTURE = file(photo(size=(20, 30)))


@pytest.fixture(scope="module")
def server():
    with serving(Striped(), Striped(mirrored=True)) as server:
        yield server


def pixels(found, key):
    return np.frombuffer(base64.b64decode(found[key]), np.uint8).reshape(found["height"], found["width"])


def test_the_page_runs_its_own_script_alone_and_loads_nothing(server):
    status, headers, page = ask(server, "GET", "/")
    assert status == 200 and "Drop a photo here" in page
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-") and "frame-ancestors 'none'" in policy
    assert headers["X-Content-Type-Options"] == "nosniff" and headers["Cache-Control"] == "no-store"
    assert "http:" not in page and "https:" not in page and 'style="' not in page
    assert not [name for name in headers if name.lower().startswith("access-control")]


def test_it_says_which_networks_there_are(server):
    _, _, found = ask(server, "GET", "/networks")
    assert [network["name"] for network in found["networks"]] == ["runs/0", "runs/1"]
    assert found["networks"][0]["classes"] == list(NAMES) and found["max_bytes"] == 100_000
    assert found["networks"][0]["palette"] == [list(colour) for colour in PALETTE]


@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF", "WEBP", "BMP"])
def test_a_picture_is_predicted(server, format):
    status, _, found = ask(server, "POST", "/predict?network=0", file(photo(size=(20, 30)), format))
    assert status == 200 and (found["height"], found["width"]) == (20, 30)
    assert np.array_equal(pixels(found, "classes"), np.tile(np.arange(30) * 3 // 30, (20, 1)))
    assert set(np.unique(pixels(found, "confidence"))) == {191} and found["mean_confidence"] == 0.75
    assert found["shares"] == pytest.approx([1 / 3] * 3, abs=1e-5)
    assert found["image"].startswith("data:image/jpeg;base64,/9j/")


def test_networks_are_told_apart_and_turned_photos_are_upright(server):
    _, _, found = ask(server, "POST", "/predict?network=1", file(photo(size=(20, 30)), "JPEG", exif=6))
    assert (found["height"], found["width"]) == (30, 20) and pixels(found, "classes")[0, 0] == 2


def test_answers_are_zipped_where_the_browser_takes_it(server):
    import gzip
    import urllib.request

    address = f"http://127.0.0.1:{server.server_address[1]}/networks"
    with urllib.request.urlopen(urllib.request.Request(address, headers={"Accept-Encoding": "gzip"})) as found:
        assert found.headers["Content-Encoding"] == "gzip" and b"striped" in gzip.decompress(found.read())


@pytest.mark.parametrize(
    "path",
    [
        "/../../../etc/passwd",
        "/..%2f..%2f..%2fetc%2fpasswd",
        "//etc/passwd",
        "/page.html",
        "/server.py",
        "/%00",
        "/runs/0/model.safetensors",
        "/predict",
        "file:///etc/passwd",
    ],
)
def test_no_other_file_can_be_read(server, path):
    status, _, found = ask(server, "GET", path)
    assert status == 404 and "root:" not in str(found)
    assert ask(server, "POST", path.replace("/predict", "/x"), PICTURE)[0] == 404


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9000", "127.0.0.1:8008", "[::1]:8008", "192.168.1.7"])
def test_its_own_names_are_welcome(server, host):
    assert ask(server, "GET", "/networks", Host=host)[0] == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8008", "localhost.evil.example", "127.0.0.1.nip.io", "[", ""]
)
def test_a_name_that_leads_here_from_elsewhere_is_refused(server, host):
    for method, path, body in (("GET", "/", None), ("GET", "/networks", None), ("POST", "/predict?network=0", PICTURE)):
        status, _, found = ask(server, method, path, body, Host=host)
        assert status == 421 and "open it by its address or localhost" in found["error"]


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1"])
def test_requests_of_other_pages_are_refused(server, origin):
    status, _, found = ask(server, "POST", "/predict?network=0", PICTURE, Origin=origin)
    assert status == 403 and found == {"error": "requests of other pages are refused."}


def test_its_own_requests_are_not(server):
    own = f"127.0.0.1:{server.server_address[1]}"
    assert ask(server, "POST", "/predict?network=0", PICTURE, Host=own, Origin=f"http://{own}")[0] == 200


@pytest.mark.parametrize(
    "body,headers,status,said",
    [
        (b"", {"Content-Length": "100001"}, 413, "100,001 bytes; 100,000 are the most"),
        (b"", {"Content-Length": "9" * 18}, 413, "are the most that is taken (--max_upload_mb)"),
        (None, {}, 411, "must say its length"),
        (b"", {"Content-Length": "-1"}, 411, "must say its length"),
        (b"0\r\n\r\n", {"Content-Length": "5", "Transfer-Encoding": "chunked"}, 411, "must say its length"),
        (b"", {}, 422, "the picture: unreadable or truncated image (0 bytes)"),
        (b"not a picture", {}, 422, "the picture: unreadable or truncated image"),
        (PICTURE[:100], {}, 422, "unreadable or truncated"),
        (file(photo(size=(1001, 1000)), "JPEG", quality=1), {}, 422, "1000x1001 pixels; 1,000,000 are the most"),
        (png_of(9_000, 9_000), {}, 422, "9000x9000 pixels; 1,000,000 are the most"),
        (png_of(60_000, 60_000), {}, 422, "the image is too large"),
        (file(Image.new("L", (65_501, 2))), {}, 422, "65501x2 pixels; 65,500 a side are the most"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", {}, 422, "begins as no picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", {}, 422, "the picture: "),
    ],
)
def test_uploads_are_limited(server, body, headers, status, said):
    found = ask(server, "POST", "/predict?network=0", body, **headers)
    assert found[0] == status and said in found[2]["error"]


@pytest.mark.parametrize("number", ["2", "-1", "", "a", "00000", "../0"])
def test_networks_that_are_not_there_are_refused(server, number):
    status, _, found = ask(server, "POST", f"/predict?network={number}", PICTURE)
    assert status == 400 and "no such network" in found["error"]


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "TRACE", "HEAD"])
def test_other_methods_are_none(server, method):
    assert ask(server, method, "/")[0] == 501


def test_a_failure_is_told_to_the_terminal_and_not_to_the_page(capfd):
    network = Striped()
    network.predict = lambda image, window_px: 1 / 0
    with serving(network) as server:
        status, _, found = ask(server, "POST", "/predict?network=0", PICTURE)
    assert status == 500 and found == {"error": "the prediction failed; the terminal of the server says why."}
    assert "ZeroDivisionError" in capfd.readouterr().err


def asking(server):
    """A connection that has asked for the page, and reads little at a time."""
    line = socket.socket()
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    line.connect(server.server_address)
    line.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    return line


def test_a_slow_line_gets_the_whole_answer(monkeypatch):
    monkeypatch.setattr(_Handler, "timeout", 0.5)
    with serving() as server, asking(server) as line:
        server.page, received, begin = bytes(16 << 20), 0, time.monotonic()
        while received < len(server.page):
            part = line.recv(1 << 18)
            assert part, f"cut off after {received:,} bytes and {time.monotonic() - begin:.1f} s"
            received += len(part)
            time.sleep(len(part) / (8 << 20))  # 2 s for all of it
        assert time.monotonic() - begin > 1


def test_an_answer_that_is_not_delivered_is_told(monkeypatch, capfd):
    monkeypatch.setattr(_Handler, "timeout", 0.2)
    with serving() as server:
        server.page, told, end = bytes(16 << 20), "", time.monotonic() + 20
        with asking(server):
            while "\n" not in told and time.monotonic() < end:
                time.sleep(0.05)
                told += capfd.readouterr().out
    assert told == "an answer of 16,777,216 bytes was not delivered: the line is too slow (timed out)\n"


def test_too_many_at_once_are_told_to_wait():
    network, go = Striped(), threading.Event()
    quick = network.predict
    network.predict = lambda image, window_px: go.wait(20) and quick(image)
    found = []
    with serving(network) as server:
        many = [
            threading.Thread(target=lambda: found.append(ask(server, "POST", "/predict?network=0", PICTURE)[0]))
            for _ in range(6)
        ]
        for one in many:
            one.start()
        end = time.monotonic() + 20
        while len(found) < 2 and time.monotonic() < end:
            time.sleep(0.01)
        go.set()
        for one in many:
            one.join()
    assert sorted(found) == [200] * 4 + [503] * 2


@pytest.mark.parametrize(
    "arguments,said",
    [
        (["--checkpoint=a,b,c"], "--checkpoint: 3 networks; give one, or two to compare"),
        (["--checkpoint=,"], "--checkpoint: 0 networks"),
        (["--checkpoint=a", "--port=70000"], "--port=70000 must lie between 0 and 65535"),
        (["--checkpoint=a", "--max_upload_mb=0"], "--max_upload_mb=0.0 must be a number above 0"),
        (["--checkpoint=a", "--max_upload_mb=nan"], "--max_upload_mb=nan must be a number above 0"),
        (["--checkpoint=a", "--max_megapixels=inf"], "--max_megapixels=inf must be a number above 0"),
        (["--checkpoint=a", "--window_px=-1"], "--window_px=-1: give a side in pixels, or 0 for whole photos"),
        (["--checkpoint=nowhere", "--compilation_cache_dir="], "nowhere"),
    ],
)
def test_mistakes_are_told_before_anything_is_served(arguments, said, capsys):
    assert serve.main(arguments) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ") and said in told


def _stand_in(monkeypatch):
    """Whatever checkpoint is given, there is one."""
    monkeypatch.setattr("csst_jax.models.weights.locate.locate", lambda path, name: path)
    monkeypatch.setattr("csst_jax.prediction.loaded.Loaded", lambda path: Striped())


def test_a_port_that_is_taken_is_told(server, capsys, monkeypatch):
    _stand_in(monkeypatch)
    port = server.server_address[1]
    assert serve.main(["--checkpoint=a", f"--port={port}", "--compilation_cache_dir="]) == 2
    assert f"--port={port}: Address already in use. Give another --port" in capsys.readouterr().err


@pytest.mark.parametrize("host", ["192.0.2.1", "no such host"])
def test_a_host_that_is_not_this_machine_is_told(capsys, monkeypatch, host):
    _stand_in(monkeypatch)
    assert serve.main(["--checkpoint=a", f"--host={host}", "--port=0", "--compilation_cache_dir="]) == 2
    told = capsys.readouterr().err
    assert f"--host={host} --port=0" in told and "Give a name or address of this machine." in told


def test_the_commands_of_the_page_serve(monkeypatch, capsys):
    page = (pathlib.Path(__file__).resolve().parents[2] / "docs" / "serve.md").read_text(encoding="utf-8")
    asked = []
    _stand_in(monkeypatch)
    monkeypatch.setattr("csst_jax.serving.server.Server.serve_forever", lambda server: asked.append(server))
    assert problems(page) == []
    for _, arguments in python_commands(page):
        assert serve.main([*arguments, "--port=0", "--compilation_cache_dir="]) == 0
        port = asked[-1].server_address[1]
        assert f"open http://127.0.0.1:{port} in a browser; Ctrl-C ends it" in capsys.readouterr().out
    assert [len(server.networks) for server in asked] == [1, 2]
    assert serve.main(["--checkpoint=a", "--host=0.0.0.0", "--port=0", "--compilation_cache_dir="]) == 0
    assert "warning: --host=0.0.0.0: everyone who reaches this machine" in capsys.readouterr().err


def test_nobody_else_in_the_network_reaches_it_unless_asked():
    assert serve._parser().parse_args(["--checkpoint=a"]).host == "127.0.0.1"
    assert serve._is_loopback("127.0.0.1") and serve._is_loopback("::1") and serve._is_loopback("localhost")
    assert not serve._is_loopback("0.0.0.0") and not serve._is_loopback("example.org")
