"""NO_PROXY, as curl reads it."""

from __future__ import annotations

import pytest
from config_helpers import provider

from onwards_py.config.no_proxy import is_excepted

# From curl's own tests (tests/unit/unit1614.c): host, list, whether it matches.
OF_CURL = [
    ("www.example.com", "localhost,.example.com,.example.de", True),
    ("www.example.com.", "localhost,.example.com,.example.de", True),
    ("example.com", "localhost,.example.com,.example.de", True),
    ("www.example.com", "localhost,.example.com.,.example.de", True),
    ("www.example.com", "localhost,www.example.com.,.example.de", True),
    ("127.0.0.1", "127.0.0.1,localhost,", True),
    ("127.0.0.1", "127.0.0.1/8,localhost,", True),
    ("127.0.0.1", "127.0.0.1/31,localhost,", True),
    ("127.0.0.1", "localhost,127.0.0.1.127.0.0.1", False),
    ("localhost", "127.0.0.1,localhost", True),
    ("foobar", "barfoo", False),
    ("192.168.0.1", "foobar", False),
    ("192.168.0.1", "192.168.0.0/16", True),
    ("192.168.0.1", "192.168.0.0/32", False),
    ("192.168.0.1", "192.168.0.0", False),
    ("192.168.1.1", "192.168.0.0/24", False),
    ("192.168.1.1", "foo, bar, 192.168.0.0/16", True),
    ("192.160.0.1", "192.160.0.1/33", False),
    ("192.160.0.1", "10.0.0.1/8", False),
    ("::1", "foo, bar, 192.168.0.0/16", False),
    ("::1", "foo, bar, ::1/64", True),
    ("::1", "0:0::1/128", True),
    ("::1", "::1/129", False),
    ("fe80::ab47:4396:55c9:8474", "fe80::ab47:4396:55c9:8474/64", True),
    ("bar", "foo,,,,,              bar, ::1/64", True),
    ("nonexample.com", ".example.com, .example.net", False),
]


@pytest.mark.parametrize(("host", "exceptions", "matches"), OF_CURL)
def test_what_curl_says_of_its_own_examples(host: str, exceptions: str, matches: bool) -> None:
    """Both read the same list."""
    assert is_excepted(host, 443, exceptions) is matches


@pytest.mark.parametrize(
    ("host", "exceptions", "matches"),
    [
        ("127.8.9.10", "127.0.0.0/8", True),
        ("10.1.2.3", "10.0.0.0/8", True),
        ("11.1.2.3", "10.0.0.0/8", False),
        ("172.31.255.255", "172.16.0.0/12", True),
        ("172.32.0.0", "172.16.0.0/12", False),
        ("fd12:3456::1", "fd00::/8", True),
        ("fe00::1", "fd00::/8", False),
        ("2001:db8:7fff::1", "2001:db8::/33", True),
        ("2001:db8:8000::1", "2001:db8::/33", False),
        ("2001:db8::1", "[2001:db8::]/32", True),
        ("2001:db8::1", "2001:DB8:0::1", True),
        ("::1", "[::1]", True),
        ("::1", "[::1]:443", True),
        ("::1", "[::1]:444", False),
        # Networks are of addresses: names are not looked up, and addresses have no names below them.
        ("localhost", "127.0.0.0/8", False),
        ("10.0.0.1", "0.0.1", False),
        ("10.0.0.1", ".1", False),
        ("::ffff:10.0.0.1", "10.0.0.0/8", False),
        # To curl /0 is the address itself, and so is an asterisk among others nothing.
        ("10.0.0.1", "0.0.0.0/0", False),
        ("example.com", "*", True),
        ("10.0.0.1", " * ", True),
        ("example.com", "a,*", False),
        ("example.com", "*.com", False),
        ("example.com", "example.com:443", True),
        ("example.com", "example.com:444", False),
        ("example.com", "https://example.com", False),
        ("10.0.0.1", "10.0.0.0/8:443", True),
        ("10.0.0.1", "10.0.0.0/-8", False),
        ("10.0.0.1", "10.0.0.0/", False),
        ("10.0.0.1", "10.0.0.0/٨", False),
        ("example.com", "", False),
        ("example.com", ".", False),
        ("example.com", ",,", False),
    ],
)
def test_networks_names_and_ports(host: str, exceptions: str, matches: bool) -> None:
    """What an operator may write, and what must not match by accident."""
    assert is_excepted(host, 443, exceptions) is matches


@pytest.mark.parametrize(
    ("url", "proxied"),
    [
        ("https://10.2.3.4/v1", False),
        ("https://[fd00::5]:8443/v1", False),
        ("https://192.168.1.1/v1", True),
        ("https://api.example.com/v1", True),
    ],
)
def test_a_provider_in_an_excepted_network_is_reached_directly(url: str, proxied: bool) -> None:
    """As its URL is written."""
    env = {"HTTPS_PROXY": "http://p:8080", "NO_PROXY": "localhost,10.0.0.0/8,fd00::/8"}
    made = provider(f"targets: {{m: {{url: '{url}'}}}}", env)
    assert made.origin is not None
    assert (made.origin.proxy_url is not None) is proxied
