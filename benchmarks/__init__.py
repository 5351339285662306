"""trivet beside its peers, on one server and in one run: `python -m benchmarks`. See README.md."""
