# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The core's named tuples are those of typing, in all that the core does with them."""

from __future__ import annotations

import inspect
import pickle
import typing

import pytest

from ansible_collections.libpulp.livepatch.plugins.module_utils.named_tuple import NamedTuple


class Point(NamedTuple):
    """A point."""

    x: int
    y: int = 2
    unit: str | None = None

    @property
    def doubled(self):
        return self._replace(x=2 * self.x)

    def __str__(self):
        return f"{self.x}/{self.y}"


class Plain(typing.NamedTuple):
    """A point."""

    x: int
    y: int = 2
    unit: str | None = None


def test_as_that_of_typing():
    for name in ("_fields", "_field_defaults", "__doc__", "__module__"):
        assert getattr(Point, name) == getattr(Plain, name)
    assert list(inspect.signature(Point).parameters) == list(inspect.signature(Plain).parameters)
    assert Point(1) == Plain(1) == (1, 2, None)
    assert isinstance(Point(1), tuple) and not hasattr(Point(1), "__dict__")


def test_methods_are_kept():
    assert Point(3).doubled == (6, 2, None)
    assert f"{Point(3)} {Point(3)!r}" == "3/2 Point(x=3, y=2, unit=None)"


def test_can_be_sent_to_another_process():
    """Workers do it; seen to fail without the module's name."""
    assert pickle.loads(pickle.dumps(Point(7, unit="m"))) == Point(7, 2, "m")
    assert isinstance(pickle.loads(pickle.dumps(Point(7))), Point)


def test_default_before_none_is_refused():
    with pytest.raises(TypeError, match="Wrong: a field without a default"):
        class Wrong(NamedTuple):
            x: int = 1
            y: int
