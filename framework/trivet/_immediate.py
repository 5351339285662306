"""Which handlers run from start to end in one step of their task, so that nothing could ever stop them.

An `async def` whose code has no `await`, `async with` or `async for` cannot be cancelled: it has no checkpoint. A
cancel scope around it would cost as much as all of trivet's other work for such a request and could do nothing. That
can be told when the application starts, so it is. The deadline still holds for everything around the handler, and
`request.deadline` tells it as ever.

One thing would differ: `trio.current_effective_deadline()` shows the scope that is not there. So a handler that could
call it, directly or through a function of its module, counts as one that suspends. This file owns that judgement; when
it is in doubt, it says no.
"""

from __future__ import annotations

import builtins
import dis
import inspect
import types
from collections.abc import Callable
from typing import Any, Final

# What `await`, `async with`, `async for` and async comprehensions compile to, in any of the versions we run on. A frame
# of an `async def` suspends at a `YIELD_VALUE` or `YIELD_FROM` and nowhere else; the others are here for the reader.
_SUSPENDING: Final = frozenset(
    {"YIELD_VALUE", "YIELD_FROM", "SEND", "GET_AWAITABLE", "GET_AITER", "GET_ANEXT", "BEFORE_ASYNC_WITH"}
)
_MISSING: Final = object()


def is_immediate(fn: Callable[..., Any]) -> bool:
    """Whether `fn` is a plain `async def` that cannot suspend, nor look at the scopes around it."""
    if not isinstance(fn, types.FunctionType) or hasattr(fn, "__wrapped__"):
        return False
    code = fn.__code__
    if not code.co_flags & inspect.CO_COROUTINE:
        return False
    if any(isinstance(constant, types.CodeType) for constant in code.co_consts) or code.co_freevars:
        return False  # functions within it, or around it: what they reach is not looked into
    for instruction in dis.get_instructions(code):
        if instruction.opname in _SUSPENDING or instruction.opname == "IMPORT_NAME":
            return False
        if instruction.opname == "LOAD_GLOBAL" and _may_look(_global(fn, instruction.argval)):
            return False
    return True


def _global(fn: types.FunctionType, name: str) -> object:
    return fn.__globals__.get(name, getattr(builtins, name, _MISSING))


def _may_look(value: object) -> bool:
    """Whether a global that a handler names could lead to Trio: a module or a function, and no class or value.

    Nobody knows what one will be that is not there yet.
    """
    return value is _MISSING or isinstance(value, types.ModuleType | types.FunctionType | types.MethodType)
