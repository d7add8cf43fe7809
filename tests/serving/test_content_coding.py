import gzip
import zlib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecnn.serving.content_coding import CODINGS, accepted_coding, compress, decompress
from edgecnn.serving.faults import BadRequestError, TooLargeError, UnsupportedMediaTypeError


@given(st.binary(max_size=2000), st.sampled_from(sorted(CODINGS)))
def test_what_was_compressed_comes_back(body: bytes, coding: str) -> None:
    assert decompress(compress(body, coding), coding, max(1, len(body))) == body


def test_what_others_compress() -> None:
    assert decompress(gzip.compress(b"abc"), "GZIP", 3) == b"abc"
    assert decompress(memoryview(zlib.compress(b"abc")), "deflate", 3) == b"abc"


@pytest.mark.parametrize("coding", sorted(CODINGS))
def test_a_bomb_is_not_unpacked(coding: str) -> None:
    bomb = compress(bytes(50_000_000), coding)
    assert len(bomb) < 300_000
    with pytest.raises(TooLargeError, match="more than 1000 bytes"):
        decompress(bomb, coding, 1000)
    with pytest.raises(TooLargeError):
        decompress(compress(b"abcd", coding), coding, 3)


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b"abc", "is no gzip"),
        (b"", "ends too early"),
        (gzip.compress(b"abc")[:-1], "ends too early"),
        (gzip.compress(b"abc") + b"x", "goes on"),
    ],
    ids=["no gzip", "empty", "cut off", "too long"],
)
def test_a_body_in_another_coding_or_cut_off_is_refused(body: bytes, fault: str) -> None:
    with pytest.raises(BadRequestError, match=fault):
        decompress(body, "gzip", 100)


@pytest.mark.parametrize("coding", ["br", "gzip, gzip", ""])
def test_other_codings_are_refused(coding: str) -> None:
    with pytest.raises(UnsupportedMediaTypeError):
        decompress(b"", coding, 100)


@given(st.binary(max_size=60), st.sampled_from(sorted(CODINGS)))
def test_any_body_is_unpacked_or_refused(body: bytes, coding: str) -> None:
    with suppress(BadRequestError, TooLargeError):
        assert len(decompress(body, coding, 1000)) <= 1000


@pytest.mark.parametrize(
    ("header", "coding"),
    [
        ("gzip", "gzip"),
        ("br, Deflate;q=0.5, gzip", "deflate"),
        ("gzip;q=0, deflate", "deflate"),
        ("identity", None),
        ("", None),
    ],
)
def test_the_coding_that_a_client_takes(header: str, coding: str | None) -> None:
    assert accepted_coding(header) == coding
