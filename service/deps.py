"""What a route may ask for: this process's `Serving`."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from core.errors import NotReady
from service.serving import Serving


def serving_of(request: Request) -> Serving:
    found: Serving | None = getattr(request.app.state, "serving", None)
    if found is None:
        raise NotReady("the service is starting; try again in a second")
    return found


ServingDep = Annotated[Serving, Depends(serving_of)]
