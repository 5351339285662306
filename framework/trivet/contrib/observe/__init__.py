"""See into a running application: metrics, health and readiness, spans, the live tree of its tasks, and slow steps.

Names only. Needs the extra `observe`, and `opentelemetry` for spans.
"""

from ._meter import BUCKETS as BUCKETS
from ._router import router as router
from ._slow_steps import SlowSteps as SlowSteps
from ._spans import opentelemetry as opentelemetry

__all__ = ["BUCKETS", "SlowSteps", "opentelemetry", "router"]
