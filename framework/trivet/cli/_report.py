"""What a user reads when the application cannot be imported. This file owns how much of a traceback that is.

A RegistrationError says itself what is wrong and where, so that the frames above it would only hide it. Of any other
error the frames before the user's own are those of this command and of `importlib`: nobody can act on them.
"""

from __future__ import annotations

import importlib
import os
import traceback
from pathlib import Path
from types import TracebackType

from trivet.errors import RegistrationError

_TRIVET = str(Path(__file__).parents[1]) + os.sep
_STDLIB = str(Path(os.__file__).parent) + os.sep
_OURS = (
    str(Path(__file__).parent) + os.sep,
    str(Path(importlib.__file__).parent) + os.sep,
    "<frozen importlib",
)


def report(error: BaseException) -> str:
    """`error`, raised by an import, as text: no line of it is about the machinery that imports."""
    if isinstance(error, RegistrationError):
        return f"{error}{_place(error.__traceback__)}"
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(_OURS):
        frames = frames.tb_next
    if frames is None:  # of a SyntaxError, say, which shows its own place
        return "".join(traceback.format_exception_only(error)).rstrip()
    return "".join(traceback.format_exception(type(error), error, frames)).rstrip()


def _place(frames: TracebackType | None) -> str:
    """The user's line that registered it: the last one that is neither trivet's nor the standard library's."""
    summaries = [
        frame
        for frame in traceback.extract_tb(frames)
        if not frame.filename.startswith((_TRIVET, _STDLIB, *_OURS)) and frame.line
    ]
    if not summaries:
        return ""
    last = summaries[-1]
    return f'\n\n  File "{last.filename}", line {last.lineno}\n    {last.line}'
