"""What a route may ask for: this `ServingProcess`, and the ticket and deadline of a prediction."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Header, Request

from core.errors import NotReady
from service.inference.serving_process import ServingProcess
from service.traffic.admission import Deadline, Ticket


# Async although they wait for nothing: FastAPI calls other dependencies in a thread.
async def serving_of(request: Request) -> ServingProcess:
    serving: ServingProcess | None = getattr(request.app.state, "serving", None)
    if serving is None:
        raise NotReady("the service is starting; try again in a second")
    return serving


ServingDep = Annotated[ServingProcess, Depends(serving_of)]


async def ticket_of(request: Request) -> Ticket:
    ticket: Ticket = request.state.ticket  # from `request_middleware.py`
    return ticket


TicketDep = Annotated[Ticket, Depends(ticket_of)]


TimeoutHeader = Annotated[
    int | None,
    Header(
        ge=1,
        le=3_600_000,
        description="The client waits so long: work that has not started by then is dropped.",
    ),
]


async def deadline_of(x_request_timeout_ms: TimeoutHeader = None) -> Deadline | None:
    return None if x_request_timeout_ms is None else Deadline.after(x_request_timeout_ms)


DeadlineDep = Annotated[Deadline | None, Depends(deadline_of)]
