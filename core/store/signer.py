"""Signatures of JSON objects, with a key that only Evergreen's processes can read.

Who can write to the database and the blob store, and does not have the key, can sign nothing. The
signature is HMAC-SHA256 (RFC 2104) of all other fields, in one order and spelling, so fields that
later releases add leave old signatures valid.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.errors import InvalidRequest

FIELD = "signature"
_MIN_BYTES = 32
# No key is longer. What has gigabytes is another file.
_MAX_BYTES = 4096


class Signer:
    # Without a repr of its own, so that the key is in no log and no traceback.
    def __init__(self, key: bytes) -> None:
        self._key = key

    @staticmethod
    def read(path: Path) -> Signer:
        """Raises InvalidRequest if the file is absent, too short, or readable by others."""
        make = f"make one with `openssl rand -out {path} 32` and `chmod 600 {path}`"
        try:
            found = path.stat()
            if not stat.S_ISREG(found.st_mode):
                raise InvalidRequest(f"the key file {path} is not a file; {make}")
            if found.st_mode & stat.S_IRWXO:
                raise InvalidRequest(
                    f"the key file {path} has mode {stat.S_IMODE(found.st_mode):04o}, with which "
                    f"every user of the machine may use it; `chmod o= {path}`"
                )
            with path.open("rb") as file:
                key = file.read(_MAX_BYTES + 1)
        except OSError as error:
            raise InvalidRequest(
                f"the key file {path} cannot be read: {error.strerror}; {make}"
            ) from error
        if not _MIN_BYTES <= len(key) <= _MAX_BYTES:
            size = f"more than {_MAX_BYTES:,}" if len(key) > _MAX_BYTES else f"{len(key)}"
            raise InvalidRequest(
                f"the key file {path} has {size} bytes; it needs {_MIN_BYTES} to {_MAX_BYTES:,} "
                f"random ones: {make}"
            )
        return Signer(key)

    def sign(self, kind: str, fields: Mapping[str, Any]) -> str:
        """Return the signature of an object of this kind, in hexadecimal. `fields` are as JSON
        gives them; their own signature does not count."""
        unsigned = {name: value for name, value in fields.items() if name != FIELD}
        content = json.dumps(unsigned, sort_keys=True, separators=(",", ":"))
        return hmac.digest(self._key, f"{kind}\0{content}".encode(), hashlib.sha256).hex()

    def has_signed(self, kind: str, fields: Mapping[str, Any]) -> bool:
        signature = fields.get(FIELD)
        if not isinstance(signature, str) or not signature.isascii():
            return False
        return hmac.compare_digest(signature, self.sign(kind, fields))
