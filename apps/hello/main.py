"""The smallest application."""

from trivet import App

app = App(timeout=10)


@app.get("/hello/{name}")
async def hello(name: str, excited: bool = False) -> str:
    """Greet somebody by name."""
    return f"Hello, {name}{'!' if excited else '.'}"
