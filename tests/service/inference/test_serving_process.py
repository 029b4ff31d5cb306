from __future__ import annotations

import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

from core.settings import Settings
from tests.service.trained_home import start_with_the_starter


def test_serving_process_computes_with_one_thread_of_the_blas(settings: Settings) -> None:
    np.ones((2, 2)) @ np.ones((2, 2))
    with threadpool_limits(2, user_api="blas"):
        started = start_with_the_starter(settings)
        found = {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}
        started.stop()
    assert found == {1}
