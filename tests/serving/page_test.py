"""The page in a browser: a photo is shown in the classes' colours, classes can be hidden, and two networks compared."""

import numpy as np
import pytest
from PIL import Image

from tests.serving.browser import BINARY, Browser
from tests.serving.served import NAMES, PALETTE, Striped, serving

pytestmark = [
    pytest.mark.slow,
    pytest.mark.essential("a page to try networks"),
    pytest.mark.skipif(BINARY is None, reason="no Chromium here"),
]
LAST = (
    "document.querySelectorAll('#views canvas')[{}].getContext('2d').getImageData({}, 5, 1, 1).data.slice(0, 3).join()"
)


@pytest.fixture
def grey(tmp_path):
    """Turned by its tag: upright it has 60 columns."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.full((60, 30, 3), 128, np.uint8)).save(tmp_path / "grey.jpg", exif=exif, quality=100)
    return tmp_path / "grey.jpg"


def colour(browser, view, x):
    return tuple(map(int, browser.run(LAST.format(view, x)).split(",")))


def near(found, wanted):
    return max(abs(a - b) for a, b in zip(found, wanted, strict=True)) <= 3


def test_a_photo_is_shown_and_compared(grey, tmp_path):
    other = Striped(names=("sky", "car", "road"), palette=PALETTE[::-1], mirrored=True)
    with serving(Striped(), other) as server:
        browser = Browser()
        try:
            browser.open(f"http://127.0.0.1:{server.server_address[1]}/")
            browser.wait_for("typeof networks !== 'undefined' && networks.length === 2")
            browser.choose_file("#file", grey)
            browser.wait_for("results.length === 2")
            assert "grey.jpg: 60 × 30 px" in browser.run("at('status').textContent")
            # The two number their classes differently, and mean the same.
            assert browser.run("at('agree').textContent") == "The two agree on 100.0 % of the pixels."
            half = [round(0.45 * 128 + 0.55 * value) for value in PALETTE[0]]
            assert near(colour(browser, 0, 5), half) and near(colour(browser, 1, 5), half)
            browser.run("at('opacity').value = 100; at('opacity').dispatchEvent(new Event('input'))")
            assert near(colour(browser, 0, 5), PALETTE[0]) and near(colour(browser, 1, 55), PALETTE[2])
            browser.run("document.querySelector('#classes input').click()")
            assert near(colour(browser, 0, 5), (128, 128, 128)) and near(colour(browser, 0, 55), PALETTE[2])
            browser.run("at('all').click(); at('different').click()")
            assert near(colour(browser, 0, 5), (128, 128, 128))
            assert browser.run("[...document.querySelectorAll('.name')].map((e) => e.textContent).join()") == ",".join(
                NAMES
            )
            browser.resize(400, 800)
            browser.wait_for("innerWidth === 400")
            assert browser.run("document.documentElement.scrollWidth") == 400
            assert browser.complaints == []
            notes = tmp_path / "notes.txt"
            notes.write_text("no picture")
            browser.choose_file("#file", notes)
            browser.wait_for("at('status').className === 'bad'")
            assert "it begins as no picture does" in browser.run("at('status').textContent")
            # Nothing from elsewhere, and no script that is not the page's, whatever a class is called.
            browser.run("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.bad = 1\">')")
            assert browser.run("window.bad === undefined")
        finally:
            browser.close()
