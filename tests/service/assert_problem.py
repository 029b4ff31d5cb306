"""What every answer of a kind must be."""

from __future__ import annotations

from http import HTTPStatus

import httpx


def problem(response: httpx.Response, status: int, code: str, *parts: str) -> str:
    """An RFC 9457 problem whose detail holds every part; returns the detail."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert body.keys() == {"type", "title", "status", "detail", "code"}
    assert body["code"] == code
    assert body["type"] == f"urn:evergreen:problem:{code}"
    assert body["status"] == status
    assert body["title"] == HTTPStatus(status).phrase
    detail: str = body["detail"]
    for part in parts:
        assert part in detail
    return detail
