"""See README.md; `main` has the HTTP face, `server` what listens."""

from .main import app as app
