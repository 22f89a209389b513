"""Frames made ahead: the same ones in the same order, errors in their turn, no thread left."""

import threading

import pytest

from animate.prefetch import prefetch


def counted(made: list[int], stop: int):
    for number in range(stop):
        made.append(number)
        yield number


def test_the_next_item_is_made_while_one_is_in_use():
    reached = threading.Event()

    def items():
        yield 0
        reached.set()
        yield 1

    stream = prefetch(items())
    assert next(stream) == 0
    assert reached.wait(10)
    assert list(stream) == [1]


def test_the_first_item_is_made_before_it_is_asked_for():
    begun = threading.Event()

    def items():
        begun.set()
        yield 0

    stream = prefetch(items())
    assert begun.wait(10)
    assert list(stream) == [0]


def test_order_is_kept_and_no_more_than_one_is_made_ahead():
    made: list[int] = []
    for number in prefetch(counted(made, 50)):
        assert len(made) <= number + 2
    assert made == list(range(50))


def test_an_error_comes_after_the_items_before_it():
    def broken():
        yield "first"
        raise ValueError("no second")

    stream = prefetch(broken())
    assert next(stream) == "first"
    with pytest.raises(ValueError, match="no second"):
        next(stream)


def test_a_stream_left_early_leaves_no_thread():
    before = threading.active_count()
    stream = prefetch(counted([], 10))
    next(stream)
    stream.close()
    assert threading.active_count() == before
