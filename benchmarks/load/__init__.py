"""Load and fault scenarios: `trivet run` under thousands of connections, vanishing clients, signals and floods.

`python -m benchmarks.load` runs them all, `python -m benchmarks.load L3 --size 2000` runs one. Each is a module here;
it reports its figures, and each figure knows the gate that it has to meet.
"""
