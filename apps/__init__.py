"""Sample applications, each a package that runs alone: `hypercorn --worker-class trio apps.NAME:app`."""
