"""See README.md; `main` has the code."""

from .main import app as app
