"""See README.md; `main` has the code."""
