"""Names of folders for classes, which every file system takes and every program unpacks."""

from __future__ import annotations

import hashlib
import unicodedata

from core.exchange.reading.junk import why_no_image
from core.exchange.reading.splits import is_split_folder

# In UTF-8. Most file systems take 255, and encryption takes a share of them.
_MAX_BYTES = 100
_ALLOWED = frozenset(" -_+,@&()!'")
_RESERVED = {
    *("con", "prn", "aux", "nul", "conin$", "conout$"),
    *(f"{port}{n}" for port in ("com", "lpt") for n in "0123456789¹²³"),
}


def folder_name(label: str) -> str:
    """The label itself if it can be a folder. Otherwise what is left of it, and a part of its
    digest, so that no two labels share a folder."""
    safe = "".join(c if _is_safe(c) else "_" for c in label).strip()
    while len(safe.encode()) > _MAX_BYTES:
        safe = safe[:-1]
    is_reserved = safe.casefold() in _RESERVED or is_split_folder(safe)
    if safe == label and safe and not is_reserved and why_no_image((safe,)) is None:
        return safe
    digest = hashlib.sha256(label.encode()).hexdigest()[:8]
    return f"{safe.strip(' _') or 'class'}~{digest}"


def _is_safe(c: str) -> bool:
    return c in _ALLOWED or unicodedata.category(c)[0] in "LMN" or unicodedata.category(c) == "So"
