"""Several calls at once, in one scope: the first that succeeds, a second try, in order, what is there in time.

Names only. Written for Trio alone, and each in a few lines, as what there is does something else: aiometer's (on anyio)
`run_any` takes the first that ends, a failure too, and its `amap` does not keep the order; trio-util's `wait_any` has
no results; aioresult captures what a task came to, and leaves it to its user who waits for whom.

Nothing outlives a call: whatever a helper has started has ended when it returns, raises or is cancelled. And no failure
is lost: it is raised, or it is in the result, or it is logged.
"""

from ._budget import HedgeBudget as HedgeBudget
from ._map import iter_bounded as iter_bounded
from ._map import map_bounded as map_bounded
from ._partial import Partial as Partial
from ._partial import partial_after as partial_after
from ._partial import partial_at as partial_at
from ._race import first_of as first_of
from ._race import hedged as hedged

__all__ = [
    "HedgeBudget",
    "Partial",
    "first_of",
    "hedged",
    "iter_bounded",
    "map_bounded",
    "partial_after",
    "partial_at",
]
