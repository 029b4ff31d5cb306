"""Coverage-guided fuzzing of what strangers send: images, requests, texts, files and archives.

    python -m tests.fuzz [--seconds 60] [--only TARGET ...]
    python -m tests.fuzz --replay TARGET FILE

Needs atheris: pip install -e '.[fuzz]'. A fault is an exception that is no documented error, an
answer with status 500, an input that takes 20 s, or 2 GB of memory. Its input is saved below
.cache/fuzz/TARGET, with the command that replays it: mend it, and make the input a test. What was
learnt about a target stays there too, and later runs begin with it.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import subprocess
import sys
from pathlib import Path

from tests.fuzz.target import Target

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CACHE = ROOT / ".cache" / "fuzz"
TARGETS = ("images", "http", "texts", "archives")
# Whose branches guide the search.
_INSTRUMENTED = ["core", "service", "PIL", "starlette", "python_multipart"]
_LIMITS = ("-timeout=20", "-rss_limit_mb=2048", "-max_len=20000", "-print_final_stats=1")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60, help="over all targets")
    parser.add_argument("--only", nargs="+", choices=TARGETS, default=list(TARGETS))
    parser.add_argument("--replay", nargs=2, metavar=("TARGET", "FILE"))
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.replay:
        name, file = options.replay
        load(name).check(Path(file).read_bytes())
        print("no fault")
    elif options.child:
        _fuzz(options.child, options.seconds)
    else:
        sys.exit(1 if _fuzz_each(options.only, options.seconds / len(options.only)) else 0)


def load(name: str) -> Target:
    target: Target = importlib.import_module(f"tests.fuzz.{name}").TARGET
    return target


def _fuzz_each(names: list[str], seconds: float) -> list[str]:
    """Each in a process of its own. Returns those with a fault."""
    found = []
    for name in names:
        command = [sys.executable, "-m", "tests.fuzz", "--child", name, "--seconds", str(seconds)]
        if subprocess.run(command, cwd=ROOT, check=False).returncode:
            found.append(name)
            print(f"\nFault in {name}. Replay it, newest first:")
            for file in _saved(name):
                print(f"  python -m tests.fuzz --replay {name} {file.relative_to(ROOT)}")
    return found


def _saved(name: str) -> list[Path]:
    files = [path for path in (CACHE / name).iterdir() if path.is_file() and "-" in path.name]
    return sorted(files, key=lambda path: -path.stat().st_mtime)


def _fuzz(name: str, seconds: float) -> None:
    import atheris

    with atheris.instrument_imports(include=_INSTRUMENTED):
        target = load(name)
    corpus = CACHE / name / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in target.seeds():
        (corpus / hashlib.sha1(seed).hexdigest()).write_bytes(seed)
    limits = [f"-max_total_time={max(1, round(seconds))}", f"-artifact_prefix={CACHE / name}/"]
    atheris.Setup([name, *_LIMITS, *limits, f"-dict={HERE / name}.dict", str(corpus)], target.check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
