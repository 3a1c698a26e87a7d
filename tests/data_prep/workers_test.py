"""Work on all cores keeps its order, bounds its memory, and fails as one process would."""

import os
import signal

import pytest

from csst_jax.types import CsstError
from data_prep import cli, workers


def double(number):
    if number == 13:
        raise CsstError("number 13 is bad")
    return 2 * number


def test_order_is_kept_and_input_is_taken_as_needed():
    for num_workers in (1, 2):
        taken = []

        def items(taken=taken):
            for number in range(20, 60):
                taken.append(number)
                yield number

        results = workers.ordered_map(double, items(), num_workers)
        assert next(results) == 40
        assert len(taken) <= 1 + 4 * num_workers
        assert list(results) == [2 * number for number in range(21, 60)]


def test_an_error_comes_in_its_turn():
    results = workers.ordered_map(double, range(11, 20), 2)
    assert [next(results), next(results)] == [22, 24]
    with pytest.raises(CsstError, match="number 13 is bad"):
        next(results)


def end_as_a_system_short_of_memory_does(number):
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_is_ended_from_outside_is_told():
    with pytest.raises(CsstError, match="because memory ran out. Give fewer --num_workers"):
        list(workers.ordered_map(end_as_a_system_short_of_memory_does, range(3), 2))


@pytest.mark.parametrize("value", ["0", "-1", "two"])
def test_number_of_workers_is_checked(value):
    arguments = cli.parser("x")
    workers.add_argument(arguments)
    with pytest.raises(CsstError, match=f"--num_workers={value} must be 1 or more"):
        arguments.parse_args([f"--num_workers={value}"])
