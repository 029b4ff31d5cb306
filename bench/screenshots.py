"""make screenshots: pictures of the page's views, of a server that has learnt something.

    python -m bench.screenshots                      those of the README, into docs/images
    python -m bench.screenshots --every FOLDER       every view: light, dark, and 360 px wide

The photos are drawn road signs, so that nothing is needed from elsewhere; `--photos` takes a folder
with a folder of photos for each class instead, and `--texts` takes texts made by templates.
"""

from __future__ import annotations

import argparse
import io
import itertools
import random
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from PIL import Image
from selenium import webdriver

from bench.signs import SIGNS, sign
from tests.end_to_end.page import open_browser
from tests.end_to_end.review_page import ReviewPage, until_analysed, until_learnt
from tests.support.server import ROOT, Server, running
from tests.support.tickets import tickets

_IMAGES = ROOT / "docs" / "images"
_NUM_LABELLED = 168
_NUM_WRONG = 6
_NUM_PREDICTED = 120
_NUM_LATER = 60  # labelled after the first version, for another one
_WIDE = (1280, 820)
_NARROW = (360, 760)
_COLOURS = 256  # of the palette: a quarter of the bytes
_SETTLE_S = 1.2  # for the thumbnails and the curves
# The pictures of the README.
_README = {"review": "review?by=suspect", "learn": "learn"}
_VIEWS = {
    "try": "try",
    "review-doubt": "review?by=doubt",
    "review-suspect": "review?by=suspect",
    "review-examples": "review?by=examples",
    "learn": "learn",
    "versions": "versions",
    "diff": "versions/2/diff/3",
    "data": "data",
}


@dataclass(frozen=True, slots=True)
class _Example:
    label: str
    # The arguments of httpx for a prediction, and for a label.
    asked: dict[str, Any]
    given: dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description="Take pictures of the page's views.")
    parser.add_argument("--every", type=Path, help="A folder for pictures of every view.")
    parser.add_argument("--photos", type=Path, help="A folder with a folder for each class.")
    parser.add_argument("--texts", action="store_true", help="Classify texts.")
    options = parser.parse_args()
    examples, kind = (_texts(), "text") if options.texts else (_photos(options.photos), "image")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recipe = folder / "recipe.toml"
        recipe.write_text("[planner]\nis_automatic = false\n")  # fine-tuning takes minutes
        with running(
            folder / "home", workers=1, EVERGREEN_RECIPE=str(recipe), EVERGREEN_INPUT=kind
        ) as server:
            print("teaching it …")
            _teach(server, examples)
            browser = open_browser(folder / "profile")
            try:
                _take(ReviewPage(browser, server), options.every)
            finally:
                browser.quit()


def _texts() -> Iterator[_Example]:
    num = _NUM_LABELLED + _NUM_LATER + _NUM_PREDICTED
    for each in tickets(num, seed=1):
        text = {"text": each.text}
        yield _Example(each.label, {"json": text}, {"json": {**text, "label": each.label}})


def _photos(folder: Path | None) -> Iterator[_Example]:
    """Without an end, or until the folder has no more."""
    if folder is None:
        names, seed = list(SIGNS), 0
        while True:
            name = names[seed % len(names)]
            yield _photo(name, sign(name, seed))
            seed += 1
    paths = [path for path in sorted(folder.glob("*/*")) if path.is_file()]
    random.Random(0).shuffle(paths)
    for path in paths:
        yield _photo(path.parent.name, path.read_bytes())


def _photo(name: str, image: bytes) -> _Example:
    asked = {"content": image, "headers": {"Content-Type": "application/octet-stream"}}
    files = {"image": ("photo", image, "application/octet-stream")}
    return _Example(name, asked, {"files": files, "data": {"label": name}})


def _teach(server: Server, examples: Iterator[_Example]) -> None:
    """Label, a few of them wrongly, and predict, so that every view has something to show."""
    some = list(itertools.islice(examples, _NUM_LABELLED))
    names = sorted({each.label for each in some})
    following = dict(zip(names, names[1:] + names[:1], strict=True))
    wrong = {i: following[some[i].label] for i in range(0, 17 * _NUM_WRONG, 17)}
    with httpx.Client(base_url=server.url, timeout=60) as client:
        _label(client, [_relabelled(each, wrong.get(i)) for i, each in enumerate(some)])
        until_learnt(server, timeout_s=300)
        _label(client, list(itertools.islice(examples, _NUM_LATER)))
        until_learnt(server, timeout_s=300)
        until_analysed(server, timeout_s=300)
        for each in itertools.islice(examples, _NUM_PREDICTED):
            client.post("/v1/predict", **each.asked).raise_for_status()


def _relabelled(example: _Example, label: str | None) -> _Example:
    if label is None:
        return example
    part = "json" if "json" in example.given else "data"
    given = {**example.given, part: {**example.given[part], "label": label}}
    return _Example(label, example.asked, given)


def _label(client: httpx.Client, examples: list[_Example]) -> None:
    def send(example: _Example) -> None:
        client.post("/v1/feedback", **example.given).raise_for_status()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(send, examples))


def _take(page: ReviewPage, every: Path | None) -> None:
    if every is None:
        for name, view in _README.items():
            _picture(page, view, _IMAGES / f"{name}.png", _WIDE)
        return
    every.mkdir(parents=True, exist_ok=True)
    for name, view in _VIEWS.items():
        _picture(page, view, every / f"{name}.png", _WIDE)
        _picture(page, view, every / f"{name}-dark.png", _WIDE, is_dark=True)
        _picture(page, view, every / f"{name}-narrow.png", _NARROW)


def _picture(
    page: ReviewPage, view: str, path: Path, size: tuple[int, int], *, is_dark: bool = False
) -> None:
    browser = page.browser
    width, height = size
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": size == _NARROW}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    page.open(view)
    time.sleep(_SETTLE_S)
    _shrink(browser, path)
    print(f"{path}: {path.stat().st_size // 1000} kB")


def _shrink(browser: webdriver.Chrome, path: Path) -> None:
    """Save what the browser shows with a palette."""
    picture = Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("RGB")
    picture = picture.quantize(_COLOURS, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    picture.save(path, "PNG", optimize=True)


if __name__ == "__main__":
    main()
