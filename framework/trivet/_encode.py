"""From a value to JSON: by msgspec, and by pydantic what is pydantic's.

This file owns who writes what. Which values are answered with JSON is `_results`' decision. It does not import
pydantic: who returns a model has done so.
"""

from __future__ import annotations

import msgspec


def _foreign(value: object) -> msgspec.Raw:
    """What msgspec does not know, wherever it stands; for all else this is never called.

    A model is written as itself, not as what an annotation says of it: that only documents. By its aliases, as it is
    read, and as FastAPI writes it.
    """
    serializer = getattr(type(value), "__pydantic_serializer__", None)
    if serializer is None:
        raise TypeError(f"Encoding objects of type {type(value).__name__} is unsupported")
    return msgspec.Raw(serializer.to_json(value, by_alias=True))


encode = msgspec.json.Encoder(enc_hook=_foreign).encode
