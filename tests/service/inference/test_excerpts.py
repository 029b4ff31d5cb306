from __future__ import annotations

from pathlib import Path

from service.inference.excerpts import Excerpts
from tests.service.conftest import settings_in
from tests.support import tiny_text
from tests.support.wait import wait_until


def test_excerpt_leaves_the_memory_though_nobody_reads_a_list_again(tmp_path: Path) -> None:
    store = tiny_text.open_home(settings_in(tmp_path))
    excerpts = Excerpts(store, kept_s=0.05)
    try:
        image = store.blobs.put(b"an erased text")
        assert excerpts.read([image]) == {image: "an erased text"}
        wait_until(lambda: not excerpts._kept, 5, "the memory to be empty")
    finally:
        excerpts.stop()
        store.db.close()
