"""Channels: who has subscribed to which; this file owns who gets a message, and that a channel nobody hears is gone.

It knows no socket. What becomes of a message whose reader is slow, is for the subscriber to decide (`outbox.py`):
tokio's mini-redis gives each channel a ring of 1024 messages, in which a slow reader loses some without a word.
"""

from __future__ import annotations

from typing import Protocol

from .glob import Matches, compiled


class Subscriber(Protocol):
    """Who can be told."""

    def message(self, channel: bytes, data: bytes, pattern: bytes | None) -> None:
        """Take a message; without waiting, for who publishes does not wait for who hears."""


class Hub:
    """All channels and patterns. Iteration follows the order of subscription: a dict is an ordered set here."""

    def __init__(self) -> None:
        self.channels: dict[bytes, dict[Subscriber, None]] = {}
        self.patterns: dict[bytes, tuple[Matches, dict[Subscriber, None]]] = {}

    def subscribe(self, channel: bytes, who: Subscriber) -> None:
        """Twice is once."""
        self.channels.setdefault(channel, {})[who] = None

    def unsubscribe(self, channel: bytes, who: Subscriber) -> None:
        """The last one to leave takes the channel along."""
        if (subscribers := self.channels.get(channel)) is not None:
            subscribers.pop(who, None)
            if not subscribers:
                del self.channels[channel]

    def subscribe_pattern(self, pattern: bytes, who: Subscriber) -> None:
        """Twice is once."""
        if pattern not in self.patterns:
            self.patterns[pattern] = compiled(pattern), {}
        self.patterns[pattern][1][who] = None

    def unsubscribe_pattern(self, pattern: bytes, who: Subscriber) -> None:
        """The last one to leave takes the pattern along."""
        if pattern in self.patterns:
            subscribers = self.patterns[pattern][1]
            subscribers.pop(who, None)
            if not subscribers:
                del self.patterns[pattern]

    def publish(self, channel: bytes, data: bytes) -> int:
        """Tell all; returns how often it was told. Who hears it by channel and by pattern, hears it twice."""
        told = 0
        # Copies: who is too slow may be thrown out, and leave, while this goes on.
        for who in list(self.channels.get(channel, ())):
            who.message(channel, data, None)
            told += 1
        for pattern, (matches, subscribers) in list(self.patterns.items()):
            if matches(channel):
                for who in list(subscribers):
                    who.message(channel, data, pattern)
                    told += 1
        return told
