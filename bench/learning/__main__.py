"""Accuracy by number of labels, on your photos: python -m bench.learning DATA_DIR

DATA_DIR holds data sets, or is one: a folder with train/<class>/* and val/<class>/*. The head is
compared with scikit-learn's logistic regression on the same embeddings, the tuned blocks with a
full fine-tune on the same photos. Seconds are CPU seconds, which other work on the machine disturbs
less. Without --weights only the pretrained models that every installation has are measured.

N rows, D embedding, K classes; H/W pixels, C channels.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from functools import partial
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from threadpoolctl import threadpool_limits

from bench.learning import blocks, heads, stream, wrong_labels
from bench.learning.photos import data_sets
from bench.learning.tables import following, news, per_class, show
from bench.learning.tasks import FILES, load
from core.models.pretrained import choice as pretrained
from core.models.pretrained import starter
from training.recipe import BlocksRecipe

SIZES: tuple[int | None, ...] = (5, 20, 100, None)


def main() -> None:
    args = _arguments()
    names = [*pretrained.NAMES, *(FILES if args.weights else ())]
    names = [name for name in names if args.backbone in (None, name)]
    chosen = {name: getattr(args, name) for name in ("depth", "epochs") if getattr(args, name)}
    recipe = dataclasses.replace(BlocksRecipe(), **chosen)
    head_rows: list[list[str]] = []
    blocks_rows: list[list[str]] = []
    stream_rows: list[list[str]] = []
    noise_rows: list[list[str]] = []
    columns = (TextColumn("{task.description:<52}"), BarColumn(), MofNCompleteColumn())
    with (
        threadpool_limits(args.threads),
        Progress(*columns, TimeElapsedColumn(), console=news) as progress,
    ):
        follow = partial(following, progress)
        for folder in data_sets(args.data, args.only):
            for name in names:
                task = load(folder, name, args.weights, args.cache, follow)
                if not args.skip_head:
                    head_rows += heads.rows_of(task, args.sizes, args.seeds, follow)
                if args.resplits:
                    noise_rows += wrong_labels.rows_of(task, args.sizes, args.resplits, follow)
                if args.blocks:
                    blocks_rows += blocks.rows_of(
                        task, args.sizes, args.seeds, recipe, args.cache, args.threads, follow
                    )
                if args.stream and name == starter.NAME:
                    stream_rows += stream.rows_of(
                        task, args.seeds, recipe, args.cache, args.threads, follow
                    )
    for title, headings, rows in (
        (heads.TITLE, heads.COLUMNS, head_rows),
        (blocks.TITLE, blocks.COLUMNS, blocks_rows),
        (stream.TITLE, stream.COLUMNS, stream_rows),
        (wrong_labels.TITLE, wrong_labels.COLUMNS, noise_rows),
    ):
        if rows:
            show(title, headings, rows, as_markdown=args.markdown)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, metavar="DATA_DIR")
    parser.add_argument("--weights", type=Path, help=f"a folder with {', '.join(FILES.values())}")
    parser.add_argument("--backbone", choices=(*pretrained.NAMES, *FILES), help="only this one")
    parser.add_argument("--only", help="only the data set of this name")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--sizes", type=per_class, nargs="+", default=SIZES, help="labels per class, or all"
    )
    parser.add_argument(
        "--blocks",
        action="store_true",
        help="also tune blocks, which takes hours",
    )
    parser.add_argument(
        "--resplits", type=int, default=0, help="also wrong labels, over this many random splits"
    )
    parser.add_argument("--stream", action="store_true", help="also classes two at a time")
    parser.add_argument("--skip-head", action="store_true", help="leave out the table of heads")
    parser.add_argument("--epochs", type=int, help="of tuning (default: the recipe's)")
    parser.add_argument("--depth", type=int, help="blocks to tune (default: the recipe's)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--markdown", action="store_true", help="print tables as Markdown")
    default = Path(tempfile.gettempdir()) / "evergreen-bench"
    parser.add_argument("--cache", type=Path, default=default, help="keeps pixels and embeddings")
    return parser.parse_args()


if __name__ == "__main__":
    main()
