"""What the parameters of a route say of its path fields: asked before there is a pattern, so that it can have types.

This file owns whose word counts. It runs at registration only.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any

from ._annotation import split_optional
from ._convert import Converter, converter_for
from ._markers import Depends
from ._modes import handler_mode, provider_mode
from ._parameter import marker_of, parameters_of
from ._source import identity


def path_types(handler: Callable[..., Any], dependencies: Iterable[Any] = ()) -> dict[str, Converter]:
    """What the annotations of a handler and of all providers say of each name, should it be a path field.

    The handler's own word comes first; a name that says nothing (no annotation) is left out, and means `str`.
    """
    handler_mode(handler)
    found: dict[str, Converter] = {}
    seen: set[Any] = set()
    waiting = [handler, *(each.provider for each in dependencies if isinstance(each, Depends) and each.scope != "app")]
    while waiting:
        fn = waiting.pop(0)
        if identity(fn) in seen:
            continue
        seen.add(identity(fn))
        for parameter in parameters_of(fn):
            marker = marker_of(parameter)
            if isinstance(marker, Depends) and marker.scope == "app":
                continue  # it takes no path field
            if isinstance(marker, Depends):
                provider_mode(marker.provider, fn)
                waiting.append(marker.provider)
            elif marker is None and parameter.annotation is not inspect.Parameter.empty:
                converter = converter_for(split_optional(parameter.annotation)[0])
                if converter is not None:
                    found.setdefault(parameter.name, converter)
    return found
