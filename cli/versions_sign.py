"""`evergreen versions sign`: sign versions that have no signature, or one of an earlier key."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import typer

from cli.actor import actor
from cli.console import count, err, moment, out, some, table
from cli.exit_codes import ARTIFACT
from core.errors import ArtifactError, EvergreenError, InvalidRequest, StoreError
from core.models.backbones import Runtime
from core.registry import signing, versions
from core.registry.versions import Version
from core.store.signer import Signer
from core.store.store import Store

_MOST_NAMES = 5


def sign_versions(
    store: Store, numbers: Sequence[int], old_key_file: Path | None, *, is_confirmed: bool
) -> None:
    if store.signer is None:
        raise InvalidRequest(
            "there is no key: name its file with EVERGREEN_MANIFEST_KEY_FILE; "
            "`openssl rand -out FILE 32` makes one"
        )
    old = None if old_key_file is None else Signer.read(old_key_file)
    with store.db.read() as conn:
        named = [versions.get(conn, number) for number in numbers]
        chosen = named or versions.kept(conn)
    unsigned = [version for version in chosen if not _is_signed(version, store)]
    if not unsigned:
        out.print(f"{count(len(chosen), 'version')}: all are signed already.")
        return
    if old is None and not is_confirmed:  # with the earlier key it is known who made them
        _confirm(unsigned)
    problems = _sign(store, unsigned, old)
    out.print(f"Signed {count(len(unsigned) - len(problems), 'version')}.")
    for problem in problems:
        err.print(f"evergreen: {problem}", soft_wrap=True)
    if problems:
        raise typer.Exit(ARTIFACT)


def _is_signed(version: Version, store: Store) -> bool:
    try:
        return signing.show_manifest(version, store)[1]
    except ArtifactError:  # signing will say what is wrong
        return False


def _confirm(unsigned: list[Version]) -> None:
    shown = table("No.", "Created", "Classes", "Run", right=("No.",))
    for version in unsigned:
        names = some(version.classes, _MOST_NAMES)
        shown.add_row(str(version.number), moment(version.created_at), names, version.run_id or "")
    err.print(shown)
    err.print(
        "A signature says that you trust a version. Whoever can write to the database or the blob "
        "store may have put one there.",
        soft_wrap=True,
    )
    typer.confirm(f"Sign {count(len(unsigned), 'version')}?", abort=True, err=True)


def _sign(store: Store, unsigned: list[Version], old: Signer | None) -> list[str]:
    """Returns why versions could not be signed."""
    runtime = Runtime("cpu")
    problems = []
    for version in unsigned:
        try:
            signing.sign(version, store, runtime, actor(), old)
        except StoreError:
            raise
        except EvergreenError as error:
            problems.append(str(error))
    return problems
