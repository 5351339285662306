"""The real server in memory, under virtual time, with a seeded hostile client: what must hold whatever happens.

`kernel` is the network, `site` the application, `requests` what is sent, `client` how, `answers` what came back, and
`world` one run of it all and what must hold after it. `python -m tests.simulation` runs many seeds, or replays one.
"""
