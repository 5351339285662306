"""trivet: a web microframework on Trio, in which a request is a scope.

Names only: each is defined and documented in the module that it is imported from. What stands for a name that others
have is `_ported`'s to say.
"""

import typing

from . import _ported
from ._app import App as App
from ._describe import Description as Description
from ._event import Event as Event
from ._eventstream import EventSink as EventSink
from ._eventstream import EventStream as EventStream
from ._file import File as File
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

        An ImportError even for `trivet.Path`: the words of an AttributeError are lost in `from trivet import Path`.
        """
        remedy = _ported.instead_of_name(name)
        if remedy:
            raise ImportError(f"trivet has no {name!r}.\n{remedy}", name=__name__)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
