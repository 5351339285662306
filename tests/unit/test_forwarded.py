"""Whom to believe about who a request comes from."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivet._forwarded import NOTHING, Hop, Proxies
from trivet._headers import Headers

PROXIES = Proxies(["10.0.0.0/8", "2001:db8:ffff::/48"])
SOCKET = Proxies(["unix", "127.0.0.1"])

PEER = "10.0.0.1"
CLIENT = ("198.51.100.7", 0)


def seen(fields: list[tuple[str, str]], peer: str | None = PEER, proxies: Proxies = PROXIES) -> Hop:
    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in fields]
    return proxies.seen(None if peer is None else (peer, 4711), Headers(raw))


XFF, XFP, XFH, FWD = "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Forwarded"


@pytest.mark.parametrize(
    ("peer", "proxies"),
    [
        ("192.0.2.1", PROXIES),
        ("2001:db8::1", PROXIES),
        ("testclient", PROXIES),
        ("", PROXIES),
        (None, PROXIES),
        ("10.0.0.1", SOCKET),
        ("127.0.0.1", Proxies(["unix"])),
        (None, Proxies([])),
    ],
)
def test_a_peer_that_is_not_trusted_is_not_believed(peer: str | None, proxies: Proxies) -> None:
    """Whatever it sends."""
    assert seen([(XFF, "1.2.3.4"), (XFP, "https"), (XFH, "a")], peer, proxies) == NOTHING
    assert seen([(FWD, "for=1.2.3.4;proto=https;host=a")], peer, proxies) == NOTHING


@pytest.mark.parametrize("peer", ["10.0.0.1", "::ffff:10.0.0.1", "2001:db8:ffff::1", "2001:db8:ffff::1%eth0"])
def test_a_trusted_peer_is_believed(peer: str) -> None:
    """However its address is written."""
    assert seen([(XFF, "198.51.100.7")], peer) == Hop(CLIENT)
    assert seen([(XFF, "198.51.100.7")], None, SOCKET) == Hop(CLIENT)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["198.51.100.7"], "198.51.100.7"),
        (["6.6.6.6, 198.51.100.7"], "198.51.100.7"),
        (["6.6.6.6", "198.51.100.7"], "198.51.100.7"),
        (["6.6.6.6,198.51.100.7 ,\t10.1.1.1,10.2.2.2"], "198.51.100.7"),
        (["10.3.3.3, 10.2.2.2"], "10.3.3.3"),
        (["2001:db8:1::2"], "2001:db8:1::2"),
        (["::ffff:198.51.100.7"], "198.51.100.7"),
        (["6.6.6.6, unknown, 10.9.9.9"], "10.9.9.9"),
        (["6.6.6.6, garbage"], None),
        (["unknown"], None),
        (["198.51.100.7, "], "198.51.100.7"),
        (["", ","], None),
        ([" 198.51.100.256"], None),
        (["6.6.6.6," + "10.2.2.2," * 10_000 + "10.4.4.4"], "10.2.2.2"),
    ],
)
def test_the_first_from_the_right_that_is_no_proxy_is_the_client(values: list[str], expected: str | None) -> None:
    """In either field; what stands left of it may be made up."""
    found = seen([(XFF, value) for value in values]).client
    assert (found and found[0]) == expected
    quoted = [",".join(f'for="{node.strip()}"' for node in value.split(",") if node.strip()) for value in values]
    bracketed = [value.replace('"2001:db8:1::2"', '"[2001:db8:1::2]"') for value in quoted]
    found = seen([(FWD, value) for value in bracketed]).client
    assert (found and found[0]) == expected


@pytest.mark.parametrize(
    ("node", "client"),
    [
        ("198.51.100.7:4711", ("198.51.100.7", 4711)),
        ("[2001:db8:1::2]", ("2001:db8:1::2", 0)),
        ("[2001:db8:1::2]:4711", ("2001:db8:1::2", 4711)),
        ("198.51.100.7:_hidden", CLIENT),
        ("198.51.100.7:471100", CLIENT),
        ("198.51.100.7:\xb2", CLIENT),
        ("_hidden", None),
        ("[2001:db8", None),
    ],
)
def test_a_node_may_have_a_port(node: str, client: tuple[str, int] | None) -> None:
    """As proxies write it, and RFC 7239 has it; a port of 0 is one that was not told."""
    assert seen([(XFF, node)]).client == client
    assert seen([(FWD, f'for="{node}"')]).client == client


@pytest.mark.parametrize(
    ("fields", "scheme", "host"),
    [
        ([(XFF, "198.51.100.7")], None, None),
        ([(XFF, "198.51.100.7"), (XFP, "https")], "https", None),
        ([(XFF, "198.51.100.7"), (XFP, "HTTPS"), (XFH, "example.com:8443")], "https", "example.com:8443"),
        ([(XFP, "wss"), (XFH, "[2001:db8::1]:80")], "https", "[2001:db8::1]:80"),
        # As many as addresses: that of the client's; else the last.
        ([(XFF, "6.6.6.6, 198.51.100.7, 10.1.1.1"), (XFP, "ftp, https, http")], "https", None),
        ([(XFF, "198.51.100.7, 10.1.1.1"), (XFP, "https"), (XFH, "evil.com, a.com, b.com")], "https", "b.com"),
        ([(XFF, "198.51.100.7"), (XFP, "https, http")], "http", None),
        ([(XFP, "https, http")], "http", None),
        ([(XFP, "javascript"), (XFH, "a/b")], None, None),
        ([(XFH, "a b")], None, None),
        ([(XFH, "user@a")], None, None),
        ([(FWD, "for=198.51.100.7;proto=https;host=example.com")], "https", "example.com"),
        ([(FWD, 'For=198.51.100.7 ; PROTO="https"; Host="example.com:8443";by=_x')], "https", "example.com:8443"),
        ([(FWD, "for=6.6.6.6;proto=ftp;host=evil.com, for=198.51.100.7;proto=https, for=10.1.1.1")], "https", None),
        ([(FWD, "for=unknown;proto=https")], "https", None),
        ([(FWD, "proto=https")], "https", None),
    ],
)
def test_scheme_and_host_are_those_of_the_same_hop(
    fields: list[tuple[str, str]], scheme: str | None, host: str | None
) -> None:
    """What is no scheme or host is not told."""
    assert seen(fields)[1:] == (scheme, host)


@pytest.mark.parametrize(
    "value",
    [
        "198.51.100.7",
        "for",
        "for=",
        "for=a b",
        'for="198.51.100.7',
        "for=198.51.100.7;for=6.6.6.6",
        "for=198.51.100.7;;proto=https",
        'for="198.51.100.7", "',
    ],
)
def test_an_element_that_is_malformed_tells_nothing(value: str) -> None:
    """Nor what stands left of it."""
    assert seen([(FWD, value)]) == NOTHING
    assert seen([(FWD, f"for=6.6.6.6, {value}, for=10.1.1.1")]).client == ("10.1.1.1", 0)
    # A quote that a client leaves open does not swallow what a proxy appends.
    assert seen([(FWD, f"{value}, for=198.51.100.7")]).client == CLIENT


@pytest.mark.parametrize(
    ("standard", "usual", "expected"),
    [
        ("for=6.6.6.6", [(XFF, "198.51.100.7")], NOTHING),
        ("for=198.51.100.7;proto=https", [(XFF, "198.51.100.7"), (XFP, "http")], NOTHING),
        ("for=198.51.100.7;host=evil.com", [(XFF, "198.51.100.7"), (XFH, "a.com")], NOTHING),
        ("for=198.51.100.7;proto=https", [(XFF, "198.51.100.7"), (XFP, "https")], Hop(CLIENT, "https")),
        ('for="198.51.100.7:1"', [(XFF, "198.51.100.7"), (XFP, "https")], Hop((CLIENT[0], 1), "https")),
        ("for=198.51.100.7", [(XFH, "a.com")], Hop(CLIENT, None, "a.com")),
        ("garbage", [(XFF, "198.51.100.7")], Hop(CLIENT)),
    ],
)
def test_two_kinds_that_contradict_each_other_are_not_believed(
    standard: str, usual: list[tuple[str, str]], expected: Hop
) -> None:
    """A proxy that writes one passes the other on as the client sent it."""
    assert seen([(FWD, standard), *usual]) == expected


SCRAPS = st.text('for="=;, .:[]unknow_198hpst\\\t', max_size=60)


@given(st.sampled_from([XFF, XFP, XFH, FWD]), SCRAPS, st.integers(0, 3))
def test_what_a_client_sends_changes_nothing(name: str, scraps: str, proxies: int) -> None:
    """Behind proxies that append to each field: whom the first of them saw is the client."""
    first = {XFF: "198.51.100.7", XFP: "https", XFH: "a.com", FWD: "for=198.51.100.7;proto=https;host=a.com"}
    inner = {XFF: "10.1.1.1", XFP: "http", XFH: "b.com", FWD: "for=10.1.1.1;proto=http;host=b.com"}
    kinds = [FWD] if name == FWD else [XFF, XFP, XFH]
    found = seen([(k, ", ".join([*[scraps][k != name :], first[k], *[inner[k]] * proxies])) for k in kinds])
    assert found.client == CLIENT
    assert found.scheme in ("https", "http")
    assert name != FWD or found == Hop(CLIENT, "https", "a.com")
