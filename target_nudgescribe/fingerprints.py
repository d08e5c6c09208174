"""Fingerprints of keys, rows and field definitions: what the ledger knows instead of values."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from tap_nudgescribe.profile import ProfileField


_join: Any = pc.binary_join_element_wise  # its stub allows no scalars among the arrays

_normalize: Any = vars(pc)["utf8_normalize"]  # its stubs lack it

AT_ONCE = 1000
"""Texts that are Python objects at once: more leave the processor's cache."""

_SEPARATOR = "\x1f"


class Hashing:
    """Hashes of keys and rows: BLAKE2b, 128 bits as two ``uint64``, with the user's key if set.

    Args:
        secret: The setting ``hash_key``. Without one, anybody can compute the same hashes.
        fields: Profile fields by name, of which the ids go into the hashes of rows: a field that
            was deleted and created anew has lost its values, so that no row is as it was.
    """

    def __init__(
        self, secret: str | None = None, fields: Mapping[str, ProfileField] | None = None
    ) -> None:
        """Derive the key."""
        self._key = blake2b(secret.encode(), digest_size=32).digest() if secret else b""
        self._fields = {} if fields is None else fields

    @property
    def check_value(self) -> str:
        """A hash by which two keys are told apart: the same for the same key, in hexadecimal."""
        return self._hashes(pa.array(["check"]), b"check").tobytes().hex()

    def keys(self, columns: Sequence[pa.StringArray]) -> NDArray[np.uint64]:
        """Return the hash of each row's key, which is the row's values of some columns: (n, 2)."""
        joined = (
            columns[0]
            if len(columns) == 1
            else _join(*columns, _SEPARATOR, null_handling="replace", null_replacement="\x00")
        )
        return self._hashes(joined, b"key")

    def folded_keys(self, columns: Sequence[pa.StringArray]) -> NDArray[np.uint64]:
        """Return a hash of each row's key without regard to case and outer white space.

        It tells that an account may hold a key in another spelling than it was sent in.

        Returns:
            uint64, (n,): 0 where the key is spelled that way itself, so that the first half of its
            :meth:`keys` is this hash.
        """
        folded = [_folded(column) for column in columns]
        differs = np.zeros(len(columns[0]), bool)
        for column, plain in zip(columns, folded, strict=True):
            differs |= np.asarray(pc.not_equal(column, plain).fill_null(False))  # noqa: FBT003 (a value)
        hashes = np.zeros(len(differs), np.uint64)
        if differs.any():
            places = np.flatnonzero(differs)
            hashes[differs] = self.keys([column.take(places) for column in folded])[:, 0]
        return hashes

    def rows(self, lines: pa.StringArray, names: Iterable[str]) -> NDArray[np.uint64]:
        """Return the hash of each CSV line under a header of field names: (n, 2)."""
        header = [f"{name}{_SEPARATOR}{self._field_id(name)}" for name in names]
        salt = blake2b(_SEPARATOR.join(header).encode(), digest_size=16).digest()
        return self._hashes(lines, salt)

    def record(self, text: str) -> NDArray[np.uint64]:
        """Return the hash of one record that is no customer: (1, 2)."""
        return self._hashes(pa.array([text]), b"record")

    def _field_id(self, name: str) -> str:
        return self._fields[name].field_id if name in self._fields else ""

    def _hashes(self, texts: pa.StringArray, salt: bytes) -> NDArray[np.uint64]:
        """Return the hash of each text; equal texts have equal hashes under one salt and key.

        Args:
            texts: Null counts as an empty text.
            salt: At most 16 bytes.
        """
        begin = blake2b(digest_size=16, person=salt, key=self._key).copy
        digests = []
        for start in range(0, len(texts), AT_ONCE):
            for text in texts.slice(start, AT_ONCE).cast(pa.binary()).to_pylist():
                # A copy costs less than a new one with its parameters.
                state = begin()
                state.update(text or b"")
                digests.append(state.digest())
        return np.frombuffer(b"".join(digests), dtype="<u8").reshape(-1, 2)


def _folded(texts: pa.StringArray) -> pa.StringArray:
    normal = _normalize(texts, form="NFKC")
    plain: pa.StringArray = pc.utf8_lower(pc.utf8_trim_whitespace(normal))
    return plain


def in_order(keys: NDArray[np.uint64]) -> NDArray[np.intp]:
    """Return the places of keys in the order of the keys, equal ones in that of their places."""
    order = np.argsort(keys)
    ordered = keys[order]
    if (ordered[1:] == ordered[:-1]).any():
        # A stable sort takes five times as long, and keys seldom come twice.
        order = np.argsort(keys, kind="stable")
    return order


def definitions_print(fields: Iterable[ProfileField]) -> int:
    """Return a print of field definitions: it changes when a refused row may be taken."""
    told = sorted(
        repr((f.name, f.field_id, f.field_type, f.field_format, f.required, f.options))
        + repr(f.unique_identifier)
        + (f.validation_rules or "")
        for f in fields
    )
    return int.from_bytes(blake2b("\n".join(told).encode(), digest_size=4).digest(), "little")
