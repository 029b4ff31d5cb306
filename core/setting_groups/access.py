"""The settings of access: who is served, and under which names. Part of `core/settings.py`."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote, urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field


def _split(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return [part.strip() for part in value.split(",") if part.strip()]


def expand_user(path: Path) -> Path:
    """Only a shell replaces ~, and not where the setting comes from a file."""
    try:
        return path.expanduser()
    except RuntimeError as error:  # ~name of an unknown user
        raise ValueError(f"{error}; write the whole path") from error


def _host(name: str) -> str:
    if name != "*" and (not re.fullmatch(r"[A-Za-z0-9._-]+", name) or name.startswith("*")):
        raise ValueError("write names only, such as cats.example.org: no scheme, no port")
    return name.lower().rstrip(".")


def _origin(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or text != f"{parts.scheme}://{parts.netloc}":
        raise ValueError("write whole origins, such as https://app.example.org; * is not possible")
    return text.lower()


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError as error:
        raise ValueError("write IP addresses or networks, such as 10.0.0.0/8") from error


def _header(name: str) -> str:
    if name and not re.fullmatch(r"[A-Za-z0-9-]+", name):
        raise ValueError("write the name of a header, such as X-Forwarded-User")
    return name.lower()


def expand_in_url(url: str) -> str:
    """A plain path, or that of SQLite, may begin with ~. In a URL, % and ? have a meaning."""
    if url.startswith("~"):
        return str(expand_user(Path(url)))
    head, slashes, path = url.partition(":///")
    if head.startswith("sqlite") and path.startswith("~"):
        user, slash, rest = path.partition("/")
        return f"{head}{slashes}{quote(str(expand_user(Path(user))))}{slash}{rest}"
    return url


ExpandedPath = Annotated[Path, AfterValidator(expand_user)]
ExpandedUrl = Annotated[str, AfterValidator(expand_in_url)]
_Hosts = Annotated[tuple[Annotated[str, AfterValidator(_host)], ...], BeforeValidator(_split)]
_Origins = Annotated[tuple[Annotated[str, AfterValidator(_origin)], ...], BeforeValidator(_split)]
_Networks = Annotated[tuple[Annotated[str, AfterValidator(_address)], ...], BeforeValidator(_split)]


class AccessSettings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    auth: Literal["auto", "keys", "off"] = Field(
        "auto",
        description="who needs a key: auto, everyone once a key was made, and until then only this "
        "machine is served; keys, everyone; off, nobody, from any address",
    )
    admin_key_file: ExpandedPath | None = Field(
        None, description="file with the key of an admin, beside those of `evergreen key add`"
    )
    session_secret_file: ExpandedPath | None = Field(
        None,
        description="file that signs sign-ins to the page, the same on each machine of a service; "
        "empty means one that is made in the home folder",
    )
    hosts: _Hosts = Field(
        (),
        description="names, besides localhost and IP addresses, under which it is reached, such as "
        "cats.example.org,cats; * allows every name",
    )
    cors_origins: _Origins = Field(
        (), description="origins whose pages may call it, such as https://app.example.org"
    )
    trusted_user_header: Annotated[str, AfterValidator(_header)] = Field(
        "",
        description="header in which a proxy names the user that it has authenticated, such as "
        "X-Forwarded-User",
    )
    trusted_proxies: _Networks = Field(
        ("127.0.0.1/32", "::1/128"),
        description="addresses of the proxies that may send that header",
    )
    trusted_user_role: Literal["predict", "label", "train", "admin"] = Field(
        "label", description="what such a user may do"
    )
