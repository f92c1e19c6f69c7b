"""Extension of griffe: a method with `@builtins.property` in a stub is a property.

`Packet` has a method `property`, so its stub writes `builtins.property`, which griffe does not recognise.
"""

from __future__ import annotations

from typing import Any

import griffe


class StubProperties(griffe.Extension):
    """Replaces such methods by attributes when a package has been loaded."""

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        _replace_properties(pkg)


def _replace_properties(parent: griffe.Module | griffe.Class) -> None:
    for name, member in list(parent.members.items()):
        if isinstance(member, griffe.Module | griffe.Class):
            _replace_properties(member)
        elif isinstance(member, griffe.Function):
            if any(str(decorator.value) == "builtins.property" for decorator in member.decorators):
                new = griffe.Attribute(
                    name, lineno=member.lineno, annotation=member.returns, docstring=member.docstring
                )
                new.labels.add("property")
                parent.set_member(name, new)
