"""What is degraded, as `/v1/status` lists it."""

from __future__ import annotations

import datetime

from pydantic import BaseModel, Field

from core.doctor.degraded import Degraded
from service.api.schemas.bodies import moment


class DegradedStatus(BaseModel):
    what: str = Field(
        description="capture, database, disk, lost-images, lost-versions, spool, store, swap or "
        "trainer."
    )
    since: datetime.datetime
    reason: str
    remedy: str = Field(description="What to do about it.")

    @staticmethod
    def from_record(degraded: Degraded) -> DegradedStatus:
        return DegradedStatus(
            what=degraded.what,
            since=moment(degraded.since),
            reason=degraded.reason,
            remedy=degraded.remedy,
        )
