# SPDX-License-Identifier: GPL-3.0-or-later
"""Records: what typing.NamedTuple is, made in a tenth of the time.

typing.NamedTuple compiles a constructor for each class, and each of its annotations: 0.1 ms a class. With the two dozen
classes that a task without a change needs, that was a twelfth of what such a task costs beyond a ping. To mypy these
are NamedTuples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["Record"]

if TYPE_CHECKING:
    from typing import NamedTuple as Record
else:
    from operator import itemgetter

    class _RecordType(type):
        def __new__(mcs, name, bases, namespace):
            if not bases:  # Record itself
                return super().__new__(mcs, name, (tuple,), {**namespace, "__slots__": ()})
            fields = tuple(namespace.get("__annotations__", ()))
            attributes = {field: property(itemgetter(position)) for position, field in enumerate(fields)}
            attributes["_fields"] = fields
            attributes["_field_defaults"] = {field: namespace[field] for field in fields if field in namespace}
            return super().__new__(mcs, name, bases, {**namespace, **attributes, "__slots__": ()})

    class Record(metaclass=_RecordType):
        """A tuple whose fields are the annotations of its class: their names, their order, their defaults."""

        def __new__(cls, *values, **named):
            fields = cls._fields
            if named or len(values) != len(fields):
                left = fields[len(values) :]
                found = {**{name: cls._field_defaults[name] for name in left if name in cls._field_defaults}, **named}
                if set(found) != set(left) or len(values) > len(fields):
                    raise TypeError("%s has the fields %s" % (cls.__name__, ", ".join(fields)))
                values = (*values, *(found[name] for name in left))
            return tuple.__new__(cls, values)

        def __getnewargs__(self):
            return tuple(self)  # for copies and pickles

        def __repr__(self):
            fields = ("%s=%r" % item for item in zip(self._fields, self))
            return "%s(%s)" % (type(self).__name__, ", ".join(fields))

        def _asdict(self):
            return dict(zip(self._fields, self))

        def _replace(self, **named):
            return type(self)(**{**self._asdict(), **named})
