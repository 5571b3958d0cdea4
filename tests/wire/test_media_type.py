"""The form of a body, from its Content-Type and its first bytes."""

from __future__ import annotations

import pytest

from onwards_py.wire.media_type import Media, may_be_json, media_of


@pytest.mark.parametrize(
    ("content_type", "media"),
    [
        (b"", Media.ABSENT),
        (b"application/json", Media.JSON),
        (b"Application/JSON ; charset=UTF-8", Media.JSON),
        (b"text/plain", Media.JSON),
        (b"application/json; charset=\"utf8\"; x=y", Media.JSON),
        (b"application/json;charset=ISO-8859-1", Media.JSON),
        (b"application/json;charset=windows-1252", Media.JSON),
        (b"application/json, application/json", Media.JSON),
        (b"Multipart/Form-Data; boundary=b", Media.FORM_DATA),
        (b"application/x-www-form-urlencoded; charset=utf-8", Media.URLENCODED),
        (b"audio/wav", Media.OPAQUE),
        (b"Application/Octet-Stream", Media.OPAQUE),
        (b"application/sdp", Media.OPAQUE),
        (b"application/json; charset=utf-16", Media.UNREADABLE),
        (b"application/json; charset=UTF-7", Media.UNREADABLE),
        (b"application/json; charset='hz-gb-2312'", Media.UNREADABLE),
        (b"application/json; Charset = cp037", Media.UNREADABLE),
        (b"application/json; charset=utf-8; charset=utf-7", Media.UNREADABLE),
        (b"application/json; charset*=''utf-7", Media.UNREADABLE),
        (b"application/json, multipart/form-data; boundary=b", Media.UNREADABLE),
    ],
)  # fmt: skip
def test_a_content_type_gives_the_form_of_the_body(content_type: bytes, media: Media) -> None:
    """Case and the place of the charset do not matter. In a charset that is unlike ASCII the body cannot be read."""
    assert media_of(content_type) is media


@pytest.mark.parametrize("coding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
@pytest.mark.parametrize(
    "text", ['{"model":"m"}', ' \r\n\t{"a":1}', "[1]", '// c\n{"a":1}', '/**/{"a":1}', '# c\n{"a":1}']
)
def test_possible_json_is_recognised(text: str, coding: str) -> None:
    """Lenient parsers accept any Unicode encoding, and JSON after a byte order mark, white space and comments."""
    assert may_be_json(text.encode(coding))


@pytest.mark.parametrize("space", "\x0b\x0c\x85\xa0\u1680\u2000\u2003\u200a\u2028\u202f\u205f\u3000\ufeff", ids=ascii)
def test_white_space_of_unicode_is_white_space(space: str) -> None:
    """JSON5 skips it, and so does a server that strips a body before parsing."""
    assert may_be_json((space * 2 + '{"a":1}').encode())


@pytest.mark.parametrize(
    "body",
    [
        b"RIFF\x24\x00\x00\x00WAVEfmt ", b"\xff\xfb\x90\x44", b"ID3\x03\x00", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0",
        b"\x00\x00\x00\x20ftypisom", b"%PDF-1.7", b"v=0\r\no=- 1 1 IN IP4", b"\x00" * 5000 + b"{", b"\x1a\x45\xdf\xa3",
    ],
)  # fmt: skip
def test_sound_and_pictures_are_not_json(body: bytes) -> None:
    """These are the first bytes of uploads: containers, silence, documents."""
    assert not may_be_json(body)
