"""trivet: a web microframework on Trio, in which a request is a scope.

Names only: each is defined and documented in the module that it is imported from. What stands for a name that others
have is `_ported`'s to say.
"""

import sys
import typing

from . import _ported
from ._app import App as App
from ._describe import Description as Description
from ._event import Event as Event
from ._eventstream import EventSink as EventSink
from ._eventstream import EventStream as EventStream
from ._file import File as File
from ._limit import Limit as Limit
from ._markers import Body as Body
from ._markers import Cookie as Cookie
from ._markers import Depends as Depends
from ._markers import Form as Form
from ._markers import Header as Header
from ._markers import Query as Query
from ._redirect import Redirect as Redirect
from ._request import Request as Request
from ._response import HTML as HTML
from ._response import Response as Response
from ._response import Text as Text
from ._results import JSON as JSON
from ._router import Next as Next
from ._router import Router as Router
from ._stream import Sink as Sink
from ._stream import Stream as Stream
from ._upload import UploadFile as UploadFile
from ._websocket import WebSocket as WebSocket
from .asgi import Reason as Reason
from .errors import HTTPError as HTTPError
from .errors import RequestCancelled as RequestCancelled
from .errors import RouteConflict as RouteConflict
from .errors import WebSocketClosed as WebSocketClosed

__all__ = [
    "HTML",
    "JSON",
    "App",
    "Body",
    "Cookie",
    "Depends",
    "Description",
    "Event",
    "EventSink",
    "EventStream",
    "File",
    "Form",
    "HTTPError",
    "Header",
    "Limit",
    "Next",
    "Query",
    "Reason",
    "Redirect",
    "Request",
    "RequestCancelled",
    "Response",
    "RouteConflict",
    "Router",
    "Sink",
    "Stream",
    "Text",
    "UploadFile",
    "WebSocket",
    "WebSocketClosed",
]


def _rename() -> None:
    """Let tracebacks and reprs name what users import: `trivet.HTTPError`, not `trivet.errors.HTTPError`."""
    for name in __all__:
        value = globals()[name]
        if isinstance(value, type):
            value.__module__ = __name__


_rename()
del _rename

if not typing.TYPE_CHECKING:  # to a type checker every name could be imported

    def __getattr__(name: str) -> object:
        """Say what stands for a name that other frameworks have.

        As an ImportError to `from trivet import Path`, which would put words of its own in the place of an
        AttributeError's; `hasattr` sees an ordinary module. The import system asks from a function of this name.
        """
        remedy = _ported.instead_of_name(name)
        if remedy and sys._getframe(1).f_code.co_name == "_handle_fromlist":
            raise ImportError(f"trivet has no {name!r}.\n{remedy}", name=__name__)
        text = f"trivet has no {name!r}.\n{remedy}" if remedy else f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(text, name=name)
