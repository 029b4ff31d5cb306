"""Files that computers put beside inputs, and others that no input has the name of."""

from __future__ import annotations

from collections.abc import Sequence

TEXT = "a text or a document"
NO_TEXT = "its name does not end as that of a plain text does"
_FOLDERS = {
    "__macosx": "made by macOS",
    "@eadir": "made by a network drive",
    "#recycle": "a recycle bin",
    "$recycle.bin": "a recycle bin",
    "system volume information": "made by Windows",
}
_FILES = {"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"}
_ARCHIVES = {"zip", "tar", "gz", "tgz", "bz2", "xz", "zst", "7z", "rar", "cab", "iso", "jar"}
_TEXTS = {
    *("txt", "md", "rst", "csv", "tsv", "json", "jsonl", "xml", "yaml", "yml", "toml"),
    *(
        "ndjson",
        "html",
        "htm",
        "css",
        "js",
        "py",
        "ini",
        "cfg",
        "log",
        "pdf",
        "doc",
        "docx",
        "xls",
        "xlsx",
    ),
    *("ipynb", "sh", "bat", "lock", "license"),
}


# Collections of old have files without an ending.
_PLAIN_TEXTS = {"", "txt", "text", "md", "rst", "log", "asc"}


def why_no_image(parts: Sequence[str]) -> str | None:
    """Why a file is no photo by its name alone; None: it may be one."""
    return why_ignored(parts) or (TEXT if _suffix(parts) in _TEXTS else None)


def why_no_text(parts: Sequence[str]) -> str | None:
    """Why a file is no plain text by its name alone; None: it may be one."""
    return why_ignored(parts) or (NO_TEXT if _suffix(parts) not in _PLAIN_TEXTS else None)


def why_ignored(parts: Sequence[str]) -> str | None:
    """Why a file is no input of any kind by its name alone; None: it may be one."""
    for part in parts:
        if part.casefold() in _FOLDERS:
            return _FOLDERS[part.casefold()]
        if part.startswith("."):
            return "hidden"
    name = parts[-1].casefold()
    if name in _FILES:
        return "made by the system"
    if _suffix(parts) in _ARCHIVES:
        return "an archive, whose content is not looked at"
    return None


def _suffix(parts: Sequence[str]) -> str:
    name = parts[-1].casefold()
    return name.rpartition(".")[2] if "." in name else ""
