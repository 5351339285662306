"""Settings: what may be set, and what is said where it may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from apps.mini_redis.settings import Settings


def test_settings_are_read_from_the_environment() -> None:
    """Each has a default; an address of IPv6 is in brackets, as elsewhere."""
    assert Settings.read({}) == Settings()
    assert Settings.read(
        {
            "MINI_REDIS_BIND": "[::1]:0",
            "MINI_REDIS_CONNECTIONS": "7",
            "MINI_REDIS_SLOW": "drop",
            "MINI_REDIS_LOG": "/var/lib/log",
            "MINI_REDIS_FSYNC": "always",
        }
    ) == Settings(host="::1", port=0, connections=7, slow="drop", log=Path("/var/lib/log"), fsync="always")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("BIND", "here", "is no address and port; write for example  127.0.0.1:6380"),
        ("BIND", ":6380", "is no address and port"),
        ("BIND", "127.0.0.1:x", "is no address and port"),
        ("BIND", "127.0.0.1:65536", "is no address and port"),
        ("CONNECTIONS", "0", "is no number from 1 on; write for example  MINI_REDIS_CONNECTIONS=1000"),
        ("CONNECTIONS", "many", "is no number from 1 on"),
        ("SLOW", "wait", "is none of disconnect, drop; write for example  MINI_REDIS_SLOW=disconnect"),
        ("FSYNC", "never", "is none of always, everysec, no; write for example  MINI_REDIS_FSYNC=always"),
    ],
)
def test_what_a_setting_may_not_be(name: str, text: str, said: str) -> None:
    """The message names the variable, what it was, and what it may be."""
    with pytest.raises(ValueError, match="MINI_REDIS") as caught:
        Settings.read({f"MINI_REDIS_{name}": text})
    assert str(caught.value).startswith(f"MINI_REDIS_{name}={text} {said}")
