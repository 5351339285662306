"""See into a running application: metrics for Prometheus, health and readiness, spans for OpenTelemetry.

Names only. Needs the extra `observe`, and `opentelemetry` for spans.
"""

from ._meter import BUCKETS as BUCKETS
from ._router import router as router
from ._spans import opentelemetry as opentelemetry

__all__ = ["BUCKETS", "opentelemetry", "router"]
