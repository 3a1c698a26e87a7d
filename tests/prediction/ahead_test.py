"""Work ahead in threads keeps its order, its bounds and its errors."""

import threading
import time

import pytest

from csst_jax.prediction.ahead import ahead


def test_results_come_in_order_and_a_few_items_ahead():
    taken = []

    def items():
        for number in range(20):
            taken.append(number)
            yield number

    def slow_if_even(number):
        time.sleep(0.01 * (number % 2 == 0))
        return number * number

    found = []
    for result in ahead(slow_if_even, items(), 3):
        found.append(result)
        assert len(taken) <= len(found) + 3
    assert found == [number * number for number in range(20)]


def test_an_error_comes_in_its_turn_and_no_thread_stays():
    before = threading.active_count()
    results = ahead(lambda number: 1 // number, [2, 1, 0, 3], 2)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert threading.active_count() == before
