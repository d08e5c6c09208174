"""Recognise what is served in place of a message file or of JSON: a page, an error, an archive."""

from __future__ import annotations

import csv
import io
import re

SAMPLE_BYTES = 4096
"""How much of the start of a file is enough to recognise it."""

BLANKS = b"\xef\xbb\xbf \t\r\n\x0b\x0c"

HTML = re.compile(rb"<(!doctype|html|head|body|title|script|style)[\s>]", re.IGNORECASE)

XML = re.compile(rb"<(\?xml|!--|error[\s>]|listbucketresult|soap|[a-z]+:envelope)", re.IGNORECASE)

MARKUP = re.compile(rb"<(!|\?|/?[a-z])", re.IGNORECASE)

JSON_OBJECT = re.compile(rb'\{\s*("|\}|$)')

JSON_LIST = re.compile(rb'\[\s*([{\["\]]|$)')

BINARY = {
    b"\x1f\x8b": "gzip data",
    b"\x28\xb5\x2f\xfd": "zstd data",
    b"BZh": "bzip2 data",
    b"\xfd7zXZ\x00": "xz data",
    b"\x04\x22\x4d\x18": "lz4 data",
    b"PK\x03\x04": "a ZIP archive",
    b"%PDF-": "a PDF document",
    b"PAR1": "a Parquet file",
    b"Obj\x01": "an Avro file",
    b"ARROW1": "an Arrow file",
    b"\x89PNG": "an image",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
}

TEXTS = (
    (HTML, "an HTML page"),
    (XML, "an XML document"),
    (MARKUP, "an HTML or XML document"),
    (JSON_OBJECT, "JSON"),
    (JSON_LIST, "JSON"),
)

MAGIC = {
    ".gz": b"\x1f\x8b",
    ".zst": b"\x28\xb5\x2f\xfd",
    ".bz2": b"BZh",
    ".xz": b"\xfd7zXZ\x00",
    ".lz4": b"\x04\x22\x4d\x18",
}
"""What a compressed file begins with, by the extension of its name."""

PAGE_TYPES = frozenset(("text/html", "application/xhtml+xml", "application/xml", "text/xml"))
"""Media types that no file of messages has."""

CSV_TYPES = frozenset(("text/csv", "application/csv", "text/comma-separated-values"))

CELL = re.compile(r"<[^<>]*>|[^<>]*")
"""A cell of a plausible header: at most one pair of angle brackets, around it."""


def media_type_of(content_type: str | None) -> str:
    """Return the media type of a ``Content-Type``, in lower case and without parameters."""
    return (content_type or "").partition(";")[0].strip().lower()


def is_json_type(media_type: str) -> bool:
    """Say whether a media type is JSON."""
    return media_type == "application/json" or media_type.endswith("+json")


def kind_of(content: bytes) -> str:
    """Return what some content is, as a noun with its article; never a part of it."""
    return _kind(content[:SAMPLE_BYTES]) or "text"


def foreign_document(start: bytes, media_type: str = "") -> str | None:
    """Return what a file is if it is not CSV, by its media type and its first bytes; else None.

    A header may begin with ``<`` or ``{``: it is one where it has several plausible cells or the
    media type is that of CSV. JSON is recognised by its grammar, which no header has.

    Args:
        start: The first bytes, decompressed; :data:`SAMPLE_BYTES` are enough.
        media_type: As :func:`media_type_of` returns it; empty if there is none.
    """
    sample = start[:SAMPLE_BYTES]
    kind = _kind(sample)
    if media_type in PAGE_TYPES:
        return kind if kind and kind != "empty" else f"a document of the type {media_type}"
    if kind in {None, "empty"}:
        return None
    text = sample.lstrip(BLANKS)
    if MARKUP.match(text) and not HTML.match(text) and not text.startswith((b"<?", b"<!")):
        return None if _is_header(text, media_type) else kind
    return kind


def _kind(sample: bytes) -> str | None:
    for magic, name in BINARY.items():
        if sample.startswith(magic):
            return name
    text = sample.lstrip(BLANKS)
    if not text:
        return "empty"
    return next((name for pattern, name in TEXTS if pattern.match(text)), None)


def _is_header(text: bytes, media_type: str) -> bool:
    """Say whether text that begins with ``<`` is a plausible header of CSV."""
    line = text.decode(errors="replace").splitlines()[0]
    try:
        cells = next(csv.reader(io.StringIO(line)), [])
    except csv.Error:
        return False
    plausible = all(CELL.fullmatch(cell.strip()) for cell in cells)
    return plausible and (len(cells) > 1 or media_type in CSV_TYPES)
