"""What many applications want and most can live without: each package is imported by who needs it, none by `trivet`.

They are written with what `trivet` exports, as an application's own would be; only `static` shares the descriptors of
the core.
"""
