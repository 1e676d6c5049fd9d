"""The one exchange of classes. Oracle: the object's own class."""

from __future__ import annotations

import pytest

from parity.taps.swap import swap, swapped


class Counter:
    def __init__(self) -> None:
        self.seen = 0

    def add(self, value: int) -> int:
        self.seen += value
        return self.seen


def test_one_object_gets_other_functions_and_no_other_does():
    one, two = Counter(), Counter()
    healthy = swap(one, add=lambda self, value: -value)
    assert (healthy, type(one).__name__, type(one).__module__) == (Counter, "Counter", Counter.__module__)
    assert isinstance(one, Counter)
    assert (one.add(3), two.add(3), one.seen) == (-3, 3, 0)


def fails_inside(one: Counter) -> None:
    with swapped(one, add=lambda self, value: 0) as healthy:
        assert (healthy, one.add(3)) == (Counter, 0)
        raise ZeroDivisionError


def test_the_class_comes_back_whatever_happens():
    one = Counter()
    with pytest.raises(ZeroDivisionError):
        fails_inside(one)
    assert (type(one), one.add(3)) == (Counter, 3)
