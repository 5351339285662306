"""The server wing: serves any ASGI application on Trio, and survives what clients and handlers do.

It knows ASGI, hypercorn and Trio, never `App`. They meet at ASGI plus the `trivet` scope extension (`trivet.asgi`).

One server
    _serve _state                   its life (startup, accept, drain); what all of its connections share
    _limits _lifespan               what a client may take; the application's startup and shutdown
    _link _faults                   what `Link` promises; what an exception means
    _access_log _access_format      one line for each request
    _address _listeners             how an address is written; who is let in where there is no poller
HTTP/1.1, ours, from the socket upwards
    _poller _transport              every connection in one epoll object; or a stream, with a task that reads it
    _tls_transport _tls_stream      TLS in the poller; the same as a stream, for what is handed over
    _tls_handshake                  the handshake of TLS in the poller, driven by what arrives
    _crew                           the tasks: one reads, and answers as long as it need not wait
    _http1_service _http1_accept    what the connections share, and who minds their time; how they come in
    _http1_wire                     writes, and ends
    _http1_intake _http1_connection the request being answered, and what arrives of it; the life of a connection
    _http1_input _http1_exchange    a body on its way to an ASGI application; one request, and what becomes of it
    _http1_begun                    where a head ends that comes bit by bit
    _http1_head _http1_body         what a head says; where a body ends
    _http1_request _http1_scope     a head as a value; as a scope
    _http1_refusal _http1_response  the strict grammar, and why not; the bytes of a response
    _http1_handover                 what goes on as another protocol
WebSockets on HTTP/1.1, ours
    _ws_handshake                   what a client asks for, and how it is told yes
    _ws_frames _ws_deflate          a frame as bytes; a message compressed, within bounds
    _ws_decoder                     from bytes to messages, pings and closes; limits, UTF-8, order
    _ws_connection _ws_clock        reads, and when it stops; pings, and how long a client may be silent
    _ws_writing                     writes: at once, together behind a turn of the scheduler's, or when the client reads
    _ws_exchange _ws_ending         what an application says; how it ends, and who is told what
    _ws_inbox                       what `receive` returns
The others, hypercorn's, made safe
    _connection _handshake          the tasks of one connection, containment of what goes wrong; TLS
    _seam                           what a protocol owes its connection
    _h1 _h2 _h2_sending _quic       HTTP/1.1 (`--protocol hypercorn`), HTTP/2; HTTP/3, contained
    _http_stream _ws_stream         one request, one WebSocket
    _application _inbox             what is answered when the application does not; what `receive` returns
    _stream _outflow _fields        writes that cannot wait for ever, flow control; fields that HTTP/2 can carry
    _hangup                         who has left while nobody reads
Processes
    _signals _watchdog              stop, and hurry; the last resort
    _supervisor _process _worker    several, replaced when they die; what the two sides say
    _reload _notify                 which files a process was made from; what systemd is told
"""

from ._lifespan import LifespanFailed as LifespanFailed
from ._limits import Limits as Limits
from ._serve import serve as serve
