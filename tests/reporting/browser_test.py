"""The page in headless Chromium: no error, the slider moves, a phone's width is enough."""

import html
import json
import re
import shutil
import subprocess

import pytest

from csst_jax import report
from tests.reporting import made_workdir

# Windows are at least 500 px wide: the page lies in a frame, which takes its width for the window's.
_FRAME = """<!DOCTYPE html><body><pre id="seen"></pre><script>
window.addEventListener('message', event => { document.getElementById('seen').textContent = event.data; });
</script><iframe src="probed.html" style="border:0;width:{width}px;height:900px"></iframe></body>"""
_LOOK = """
<script>
const errors = []; window.addEventListener('error', event => errors.push(String(event.message)));
window.addEventListener('load', () => {
  const view = document.querySelector('.view'), pair = view.querySelector('.pair');
  const input = (control, value) => { control.value = value; control.dispatchEvent(new Event('input')); };
  const clip = () => getComputedStyle(pair.querySelector('img.left')).clipPath;
  const [left, right] = view.querySelectorAll('select');
  const before = clip();
  input(view.querySelector('input[type=range]'), 20);
  const after = clip();
  input(left, 'truth'); input(right, 'student is wrong');
  const shown = [...pair.querySelectorAll('img')].filter(img => getComputedStyle(img).visibility === 'visible');
  const overlay = view.querySelector('input[type=checkbox]');
  overlay.checked = true; overlay.dispatchEvent(new Event('input'));
  const seen = JSON.stringify({
    errors, before, after, shown: shown.map(img => img.dataset.kind), width: innerWidth,
    scroll: document.documentElement.scrollWidth, views: document.querySelectorAll('.view').length,
    broken: [...document.images].filter(img => img.complete && !img.naturalWidth).length,
    opacity: getComputedStyle(pair.querySelector('img.right')).opacity,
    charts: document.querySelectorAll('.chart svg').length,
  });
  parent.postMessage(seen, '*');
});
</script>
"""


@pytest.fixture(scope="module")
def chromium():
    for name in ("chromium", "chromium-browser", "google-chrome", "chrome"):
        if found := shutil.which(name):
            return found
    pytest.skip("needs Chromium, for example `apt-get install chromium`")


def look(chromium, page, width, tmp_path, script=_LOOK):
    """What a script inside the page sees, and what the browser's console says."""
    text = page.read_text(encoding="utf-8")
    (tmp_path / "probed.html").write_text(text.replace("</head>", f"</head>{script}", 1), encoding="utf-8")
    frame = tmp_path / "frame.html"
    frame.write_text(_FRAME.replace("{width}", str(width)), encoding="utf-8")
    done = subprocess.run(
        [
            chromium, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}",
            "--window-size=1300,1000", "--enable-logging=stderr", "--virtual-time-budget=20000", "--dump-dom",
            frame.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=240,
    )  # fmt: skip
    seen = re.search(r'<pre id="seen">(\{.*?\})</pre>', done.stdout, re.S)
    assert seen, done.stderr[-2000:]
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return json.loads(html.unescape(seen[1])), console


@pytest.mark.slow
@pytest.mark.essential("the report in a browser")
def test_a_report(chromium, tmp_path):
    page = report.write_report(made_workdir.whole(tmp_path / "run"))
    for width in (1200, 400):
        seen, console = look(chromium, page, width, tmp_path)
        assert not console and not seen["errors"]
        assert seen["views"] == 3 and not seen["broken"] and seen["charts"] >= 5
        assert "50%" in seen["before"] and "80%" in seen["after"], "the slider"
        assert set(seen["shown"]) == {"truth", "student is wrong"} and seen["opacity"] == "0.55"
        assert seen["width"] == width and seen["scroll"] <= width, "wider than the window"


@pytest.mark.slow
def test_a_comparison(chromium, tmp_path):
    runs = [made_workdir.whole(tmp_path / name) for name in ("a_run_with_quite_a_long_name", "another")]
    look_at_widths = """<script>window.addEventListener('load', () => parent.postMessage(JSON.stringify({
      width: innerWidth, scroll: document.documentElement.scrollWidth}), '*'));</script>"""
    seen, console = look(chromium, report.write_comparison(runs), 400, tmp_path, look_at_widths)
    assert not console and seen["width"] == 400 and seen["scroll"] <= 400
