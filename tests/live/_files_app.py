"""An application that gives out the directory it was started in."""

from __future__ import annotations

from trivet import App
from trivet.contrib.static import StaticFiles

app = App()
app.mount("", StaticFiles("."))
