"""Reading ahead: the same items, never too many of them, and nothing goes on once nobody listens."""

from __future__ import annotations

import threading
import time

import pytest

from speechquant.audio import read_ahead


def wait_for(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


@pytest.mark.parametrize("depth", [1, 3, 100])
def test_all_items_in_order(depth):
    def count():
        yield from range(50)

    assert list(read_ahead(count(), depth)) == list(range(50))


def test_it_is_ahead_but_not_further_than_asked():
    made = []

    def count():
        for item in range(100):
            made.append(item)
            yield item

    items = read_ahead(count(), 5)
    assert next(items) == 0
    # One is with the caller, five wait, and one was made and has no room.
    wait_for(lambda: len(made) == 7)
    for taken in range(1, 10):
        assert next(items) == taken
        wait_for(lambda taken=taken: len(made) == taken + 7)
    items.close()
    assert len(made) == 16


def test_another_thread_does_the_work_and_ends_with_it():
    names = set()

    def work():
        names.add(threading.current_thread())
        yield 1

    assert list(read_ahead(work(), 2)) == [1]
    (thread,) = names
    assert thread is not threading.current_thread()
    wait_for(lambda: not thread.is_alive())


def test_an_error_comes_after_the_items_before_it():
    def fail():
        yield "a"
        yield "b"
        raise KeyError("c")

    seen = []
    with pytest.raises(KeyError, match="c"):
        seen.extend(read_ahead(fail(), 9))
    items = read_ahead(fail(), 9)
    assert [next(items), next(items)] == ["a", "b"]


@pytest.mark.parametrize("taken", [0, 1, 4])
def test_closing_closes_the_generator_in_its_thread(taken):
    closed = []

    def endless():
        try:
            while True:
                yield 0
        finally:
            closed.append(threading.current_thread())

    items = read_ahead(endless(), 2)
    for _ in range(taken):
        next(items)
    items.close()
    if taken:
        wait_for(lambda: closed)
        assert closed[0] is not threading.current_thread()


def test_a_generator_that_waits_for_ever_does_not_hold_up_the_caller(monkeypatch):
    monkeypatch.setattr("speechquant.audio.ahead._LAST_WORDS_SECONDS", 0.01)
    never = threading.Event()

    def stuck():
        yield 1
        never.wait()

    items = read_ahead(stuck(), 2)
    assert next(items) == 1
    items.close()
    never.set()


def test_no_room_is_refused():
    with pytest.raises(ValueError, match="1 item"):
        next(read_ahead(iter(()), 0))
