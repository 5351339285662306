"""An application that answers with a status that it does not document."""

from __future__ import annotations

from trivet import App, HTTPError

app = App()


@app.get("/{number}")
async def lie(number: int) -> int:
    if number % 2:
        raise HTTPError(410)
    return number
