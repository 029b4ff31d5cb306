"""Clients that predict constantly, over a kept-alive connection to each worker.

They check that every request succeeds, that a response is of one version only, and that no client
had a response of a newer version before the request was sent.
"""

from __future__ import annotations

import base64
import http.client
import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType

from core.store.store import Store
from tests.end_to_end import tagged_versions
from tests.support import images
from tests.support.server import Server
from tests.support.wait import wait_until

_IMAGE = images.png(64, 64)
_FORM = b"".join(
    b'--cut\r\nContent-Disposition: form-data; name="image"; filename="%d.png"\r\n'
    b"Content-Type: image/png\r\n\r\n%b\r\n" % (i, _IMAGE)
    for i in range(3)
)
_TENSORS = {
    "inputs": [
        {
            "name": "image",
            "shape": [3],
            "datatype": "BYTES",
            "data": 3 * [base64.b64encode(_IMAGE).decode()],
        }
    ],
    "outputs": [{"name": "label"}, {"name": "probabilities"}],
}


@dataclass(frozen=True, slots=True)
class VersionEvidence:
    """What a response says of its version."""

    versions: set[int]
    # The classes named for each image, and their number where all are named.
    labels: list[set[str]]
    num_classes: set[int]


def of_one_image(body: bytes) -> VersionEvidence:
    answer = json.loads(body)
    top = {candidate["label"] for candidate in answer["top"]}
    return VersionEvidence({answer["version"]}, [top], {len(top)})


def of_five_candidates(body: bytes) -> VersionEvidence:
    said = of_one_image(body)
    return VersionEvidence(said.versions, said.labels, set())


def of_several_images(body: bytes) -> VersionEvidence:
    answers = [item["prediction"] for item in json.loads(body)["items"]]
    tops = [{candidate["label"] for candidate in answer["top"]} for answer in answers]
    return VersionEvidence(
        {answer["version"] for answer in answers}, tops, {len(top) for top in tops}
    )


def of_tensors(body: bytes) -> VersionEvidence:
    answer = json.loads(body)
    outputs = {output["name"]: output for output in answer["outputs"]}
    labels = [{label} for label in outputs["label"]["data"]]
    return VersionEvidence(
        {int(answer["model_version"])}, labels, {outputs["probabilities"]["shape"][1]}
    )


# Every way to predict with the champion: path, Content-Type, body, reader of the response.
WAYS: tuple[tuple[str, str, bytes, Callable[[bytes], VersionEvidence]], ...] = (
    ("/v1/predict?top=1000", "image/png", _IMAGE, of_one_image),
    (
        "/v1/predict?top=1000",
        "multipart/form-data; boundary=cut",
        _FORM + b"--cut--\r\n",
        of_several_images,
    ),
    ("/predict", "image/png", _IMAGE, of_five_candidates),
    (
        "/v2/models/evergreen/infer",
        "application/json",
        json.dumps(_TENSORS).encode(),
        of_tensors,
    ),
)


class ConsistencyClients:
    def __init__(self, server: Server, store: Store, num_clients: int = 3) -> None:
        """The champion is the current one, until `expect` announces the next."""
        self._server = server
        self._store = store
        self._lock = threading.Lock()
        self._history = [tagged_versions.newest_activation(store).version]
        self._classes: dict[int, set[str]] = {}
        # The index in the history of the newest version that a client has seen.
        self._seen = 0
        self.problems: list[str] = []
        self.answers: Counter[tuple[int, int]] = Counter()
        self._remember(self._history[0])
        self._stop = threading.Event()
        self._connections = [one_to_each_worker(server) for _ in range(num_clients)]
        self._threads = [
            threading.Thread(target=self._run, args=(connections,))
            for connections in self._connections
        ]

    def __enter__(self) -> ConsistencyClients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        for connection in itertools.chain(*(each.values() for each in self._connections)):
            connection.close()

    def expect(self, number: int) -> None:
        """Announce the next champion, before its promotion is requested."""
        self._remember(number)
        with self._lock:
            self._history.append(number)

    def until_every_worker_answers_with(self, number: int) -> None:
        """Wait for new responses of this version from every worker."""
        before = Counter(self.answers)
        pids = list(self._connections[0])
        wait_until(
            lambda: (
                bool(self.problems)
                or all(self.answers[pid, number] > before[pid, number] for pid in pids)
            ),
            tagged_versions.SOON_S,
            f"every worker to answer with version {number}",
        )

    def _remember(self, number: int) -> None:
        self._classes[number] = set(tagged_versions.classes_of(self._store, number))

    def _run(self, connections: dict[int, http.client.HTTPConnection]) -> None:
        turns = zip(itertools.cycle(connections.items()), _ways(), strict=False)
        for (pid, connection), (path, kind, body, read) in turns:
            if self._stop.is_set():
                return
            with self._lock:
                seen = self._seen
            try:
                connection.request("POST", path, body, {"Content-Type": kind})
                response = connection.getresponse()
                content = response.read()
            except (OSError, http.client.HTTPException) as error:
                self.problems.append(f"worker {pid}: {error!r}")
                return
            if response.status != 200:
                self.problems.append(f"worker {pid}: {response.status} {content[:200]!r}")
                continue
            self._check(pid, seen, read(content))

    def _check(self, pid: int, seen: int, said: VersionEvidence) -> None:
        if len(said.versions) != 1:
            self.problems.append(f"worker {pid} answers with several versions, {said.versions}")
            return
        (number,) = said.versions
        classes = self._classes.get(number, set())
        if any(not labels <= classes for labels in said.labels) or any(
            num != len(classes) for num in said.num_classes
        ):
            self.problems.append(f"worker {pid} says {said}, and version {number} has {classes}")
        with self._lock:
            self.answers[pid, number] += 1
            if number not in self._history[seen:]:
                self.problems.append(
                    f"worker {pid} answers with version {number} after one was answered with "
                    f"{self._history[seen]}; {self._history}"
                )
                return
            self._seen = max(self._seen, self._history.index(number, seen))


def one_to_each_worker(server: Server) -> dict[int, http.client.HTTPConnection]:
    """A connection to each worker, by its process id. The kernel chooses who accepts one."""
    connections: dict[int, http.client.HTTPConnection] = {}
    deadline = time.monotonic() + tagged_versions.SOON_S
    while len(connections) < server.num_workers:
        assert time.monotonic() < deadline, f"only {list(connections)} accept connections"
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        pid = predict(connection)[0]
        if pid in connections:
            connection.close()
        else:
            connections[pid] = connection
    return connections


def versions_answered(server: Server) -> set[int]:
    """The versions of a response of each worker."""
    connections = one_to_each_worker(server)
    try:
        return {predict(connection)[1] for connection in connections.values()}
    finally:
        for connection in connections.values():
            connection.close()


def predict(connection: http.client.HTTPConnection) -> tuple[int, int]:
    """The process id and the version of the response."""
    connection.request("POST", "/v1/predict", _IMAGE, {"Content-Type": "image/png"})
    return read_prediction(connection)


def read_prediction(connection: http.client.HTTPConnection) -> tuple[int, int]:
    response = connection.getresponse()
    content = response.read()
    assert response.status == 200, content
    return int(response.headers["Evergreen-Worker"]), json.loads(content)["version"]


def _ways() -> Iterator[tuple[str, str, bytes, Callable[[bytes], VersionEvidence]]]:
    """All ways in turn, each round from another one, so that each connection uses them all."""
    for i in itertools.count():
        for k in range(len(WAYS)):
            yield WAYS[(i + k) % len(WAYS)]
