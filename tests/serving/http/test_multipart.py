"""Forms."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecnn.serving.faults import BadRequestError, RequestError, TooLargeError, UnsupportedMediaTypeError
from edgecnn.serving.http.multipart import parse_form

TYPE = "multipart/form-data; boundary=BOUND"


def form(*parts: tuple[str, bytes], boundary: str = "BOUND") -> bytes:
    line = b"--" + boundary.encode()
    blocks = [
        line + b"\r\nContent-Disposition: form-data; " + names.encode() + b"\r\n\r\n" + content + b"\r\n"
        for names, content in parts
    ]
    return b"".join(blocks) + line + b"--\r\n"


def test_files_come_with_their_names_and_types() -> None:
    body = form(
        ('name="files"; filename="cat.jpg"\r\nContent-Type: Image/JPEG; q=1', b"cat"),
        ('name="files"; filename="C:\\pictures\\dög.png"', b"dog\r\n--BOUNDARY"),
        ('name="top_k"', b""),
    )
    parts = parse_form(TYPE, memoryview(bytearray(body)), 3)
    assert [(p.name, p.file_name, p.content_type, bytes(p.content)) for p in parts] == [
        ("files", "cat.jpg", "image/jpeg", b"cat"),
        ("files", "dög.png", "", b"dog\r\n--BOUNDARY"),
        ("top_k", None, "", b""),
    ]


@settings(max_examples=60)
@given(st.lists(st.binary(max_size=300), max_size=5))
def test_contents_come_back(contents: list[bytes]) -> None:
    body = form(*((f'name="f"; filename="{n}"', content) for n, content in enumerate(contents)))
    assert [bytes(part.content) for part in parse_form(TYPE, body, 5)] == contents


@settings(max_examples=100)
@given(
    st.lists(
        st.one_of(
            st.sampled_from(
                [b"--BOUND", b"\r\n", b"--", b"Content-Disposition: form-data; name=a", b": ", b";"]
            ),
            st.binary(max_size=8),
        ),
        max_size=20,
    )
)
def test_nonsense_is_refused(pieces: list[bytes]) -> None:
    try:
        parse_form(TYPE, b"".join(pieces), 5)
    except RequestError as error:
        assert error.status in (400, 413)  # noqa: PT017 - nonsense may by chance be a form


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nothing",
        form(('name="a"', b"x"))[:-6],
        form(('nome="a"', b"x")),
        form(('name="a"', b"x")).replace(b"form-data", b"attachment"),
        form(('name="a"', b"x")).replace(b"Content-", b"Cont ent-"),
        form(('name="a"', b"x")).replace(b"\r\n--BOUND", b"\r\n--BOUND  "),
        form(('name="a"\r\nx-a: ' + "a" * 9000, b"x")),
    ],
)
def test_a_malformed_form_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequestError, match="The form is malformed"):
        parse_form(TYPE, body, 3)


def test_parts_are_bounded() -> None:
    for count in (4, 5, 1000):
        with pytest.raises(TooLargeError, match="more than 3 parts"):
            parse_form(TYPE, form(*[('name="a"', b"")] * count), 3)


def test_the_content_type_must_be_a_form() -> None:
    with pytest.raises(UnsupportedMediaTypeError):
        parse_form("image/jpeg", b"", 3)
    with pytest.raises(BadRequestError, match="boundary"):
        parse_form("multipart/form-data", b"", 3)
    with pytest.raises(BadRequestError, match="malformed"):
        parse_form("multipart/form-data; boundary=" + "a" * 300, b"", 3)
