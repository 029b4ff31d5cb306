"""Where a backup is kept: files by name, in a folder or in an object store."""

from __future__ import annotations

import shutil
from pathlib import Path, PurePosixPath

import fsspec
from fsspec.implementations.local import LocalFileSystem

from core.errors import InvalidRequest, StoreError
from core.system.files import fsync_folder, writing_whole


class Place:
    """A file appears under its name whole, or not at all. Methods raise StoreError."""

    def __init__(self, url: str) -> None:
        """`url` is a path, or any URL that fsspec knows, such as s3://bucket/folder."""
        try:
            self._fs, self._root = fsspec.core.url_to_fs(url)
        except Exception as error:
            raise InvalidRequest(
                f"{url} cannot hold a backup: {error}; name a folder, or a URL such as "
                "s3://bucket/folder"
            ) from error
        self.is_local = isinstance(self._fs, LocalFileSystem)

    def names(self, folder: str) -> list[str]:
        """The files in the folder and those below it, by their names within the place."""
        try:
            found = self._fs.find(f"{self._root}/{folder}")
        except FileNotFoundError:
            return []
        except Exception as error:
            raise StoreError(f"the backup cannot be listed: {error}") from error
        root = PurePosixPath(self._root)
        return [str(PurePosixPath(path).relative_to(root)) for path in found]

    def put(self, file: Path, name: str) -> None:
        """Copy the file into the place. In a folder it is durable once this returns."""
        try:
            if self.is_local:
                self._put_locally(file, Path(self._root) / name)
            else:
                self._fs.put_file(str(file), f"{self._root}/{name}")
        except Exception as error:
            raise StoreError(f"{name} cannot be written to the backup: {error}") from error

    def get(self, name: str, file: Path) -> None:
        """Copy a file out of the place."""
        try:
            self._fs.get_file(f"{self._root}/{name}", str(file))
        except FileNotFoundError as error:
            raise StoreError(f"the backup has no {name}") from error
        except Exception as error:
            raise StoreError(f"{name} cannot be read from the backup: {error}") from error

    def delete(self, name: str) -> None:
        """Deleting an absent file is no error."""
        try:
            self._fs.rm_file(f"{self._root}/{name}")
        except FileNotFoundError:
            return
        except Exception as error:
            raise StoreError(f"{name} cannot be deleted from the backup: {error}") from error

    def _put_locally(self, file: Path, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with writing_whole(path, durable=True) as unfinished:
            shutil.copyfile(file, unfinished)
        fsync_folder(path.parent)
