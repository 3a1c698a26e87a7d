"""`make test` and `make test-all` share the tests between them, and .ci/run adds up what they say."""

import itertools
import pathlib
import re
import subprocess
import time

import pytest
from _pytest.mark.expression import Expression

from tests import conftest

ROOT = pathlib.Path(__file__).resolve().parent.parent


def test_every_test_is_in_one_of_the_two_and_fast_ones_in_the_first():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    first, fast, rest = (
        Expression.compile(re.search(rf"^{target}:.*\n\t\$\(PYTEST\) -m '(.*)'", makefile, re.M).group(1))
        for target in ("test", "test-fast", "test-all")
    )
    for slow, essential in itertools.product((False, True), repeat=2):
        marks = {"slow": slow, "essential": essential}

        def has(name, marks=marks, **_):
            return marks[name]

        assert first.evaluate(has) != rest.evaluate(has)
        assert fast.evaluate(has) == (not slow)
        assert first.evaluate(has) or not fast.evaluate(has)


def test_who_is_essential_is_slow_and_says_for_what(request):
    marked = [item for item in request.session.items if item.get_closest_marker("essential")]
    for item in marked:
        assert item.get_closest_marker("slow"), f"{item.nodeid} runs in `make test` without the mark"
        (capability,) = item.get_closest_marker("essential").args
        assert capability


_TEST = "===== 1 failed, 20 passed, 2 skipped, 3 deselected, 4 warnings in 61.50s (0:01:01) ====="


@pytest.mark.parametrize(
    "test,rest,status,line",
    [
        ((_TEST, 1), ("=== 7 passed in 5.25s ===", 0), 1, "1 failed, 27 passed, 2 skipped in 66.75s"),
        (("== 20 passed, 2 skipped in 1.00s ==", 0), ("= 7 passed in 2.00s =", 0), 0, "27 passed, 2 skipped in 3.00s"),
        (("== 20 passed in 1.00s ==", 0), ("= 7 passed, 2 errors in 2.00s =", 1), 1, "27 passed, 2 errors in 3.00s"),
        (("E501 Line too long", 2), ("= 7 passed in 2.00s =", 0), 1, "7 passed, 1 error in 2.00s"),
    ],
)
def test_the_last_line_counts_both_parts(tmp_path, test, rest, status, line):
    script = 'case "$1" in test) {};; test-all) {};; esac\n'
    answers = (f'echo "{text}"; exit {code}' for text, code in (test, rest))
    (tmp_path / "make").write_text("#!/bin/sh\n" + script.format(*answers))
    (tmp_path / "make").chmod(0o755)
    done = subprocess.run(
        [ROOT / ".ci" / "run"], env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True, text=True
    )
    assert (done.stdout.splitlines()[-1], done.returncode) == (f"===== {line} =====", status)


def test_what_has_not_begun_when_the_time_is_over_is_skipped_aloud(monkeypatch):
    monkeypatch.setenv("CSST_TESTS_UNTIL", str(time.time() + 60))
    conftest.pytest_runtest_setup()
    monkeypatch.setenv("CSST_TESTS_UNTIL", str(time.time() - 1))
    with pytest.raises(pytest.skip.Exception, match="not run: .*CSST_TESTS_UNTIL"):
        conftest.pytest_runtest_setup()
