"""The imports that have moved since they were asked for last, as events of a stream."""

from __future__ import annotations

import contextlib

from core.errors import UnknownImport
from core.exchange.importing import jobs
from core.exchange.importing.jobs import Import
from core.store.store import Store
from service.api.schemas.exchange import ImportResponse

#: One event for each import, so that the newest state of each is sent.
PREFIX = "import "
_MAX_PROBLEMS = 10

_State = tuple[str, int, int | None]


class ImportsFeed:
    """Says the state of an import when it moves, and once when it has ended. For one thread."""

    def __init__(self, store: Store) -> None:
        self._store = store
        # Of those that had not ended.
        self._shown: dict[str, _State] = {}

    def poll(self) -> dict[str, str]:
        """Bodies of events, by `PREFIX` and the import's id. Raises StoreError."""
        with self._store.db.read() as conn:
            found = jobs.unfinished(conn)
            listed = {each.id for each in found}
            for ended in self._shown.keys() - listed:
                with contextlib.suppress(UnknownImport):  # its row was deleted
                    found.append(jobs.get(conn, ended))
        states = {each.id: _state(each) for each in found}
        moved = [each for each in found if states[each.id] != self._shown.get(each.id)]
        self._shown = {key: state for key, state in states.items() if key in listed}
        return {
            PREFIX + each.id: ImportResponse.from_record(each, _MAX_PROBLEMS).model_dump_json()
            for each in moved
        }


def _state(record: Import) -> _State:
    return record.state, record.position, record.total
