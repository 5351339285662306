"""The server wing: serves any ASGI application on Trio, and survives what clients and handlers do.

It knows ASGI, hypercorn and Trio, never `App`. They meet at ASGI plus the `trivet` scope extension (`trivet.asgi`).

    _serve        the life of a server: startup, accept, drain
    _lifespan     the application's startup and shutdown
    _connection   the tasks of one connection; containment of what goes wrong in it
    _application  one application task: what is answered when the application does not
    _seam         what a protocol owes its connection, so that another can take the place of hypercorn's
    _h1 _h2       HTTP/1.1 and HTTP/2: hypercorn's protocols, made safe; _quic: HTTP/3, contained
    _http_stream _ws_stream      one request, one WebSocket
    _inbox        what `receive` returns;  _link: what `Link` promises
    _stream       writes that cannot wait for ever;  _hangup: who has left while nobody reads
    _state        what connections share;  _watchdog: the last resort
    _signals _supervisor _process _worker _reload  processes: what `trivet run` adds
"""

from ._lifespan import LifespanFailed as LifespanFailed
from ._limits import Limits as Limits
from ._serve import serve as serve
