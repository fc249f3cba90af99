"""What a store is: where files lie that a URI names, and what is done to them there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow import fs

KEYS_A_PAGE = 1_000
"""How many objects a part of a listing has, where the store asks."""


class Dated(NamedTuple):
    """A file at a store: its URI, its size in bytes, and when it was written, in seconds by the store's clock."""

    uri: str
    size: int
    modified: float


class Page(NamedTuple):
    """A part of a listing.

    Attributes:
      files: those of it, in no order that counts.
      more: what `Store.page` takes to go on, as the store likes it; empty at the end.
    """

    files: list[Dated]
    more: Any


class Store:
    """A store. A new one is a module with a `STORE`, and its line in `_ALL`.

    Each method does one thing once, in one request where it can: `storage` says what is wrong, and makes calls again that
    may succeed then. A file that is not there is a FileNotFoundError, other faults are whatever the store's library
    raises.

    Attributes:
      schemes: of its URIs, as `s3` in s3://.
      libraries: the packages whose exceptions are the store's answers, beside OSError.
      on_disk: whether the files lie in folders of this machine, which need no second try and are opened where they lie.
    """

    schemes: tuple[str, ...]
    libraries: tuple[str, ...] = ()
    on_disk = False

    def filesystem(self, scheme: str) -> fs.FileSystem:
        """pyarrow's filesystem, made once, for what streams and for those who read datasets.

        Raises:
          HeadwaterError: there are no credentials, or no endpoint.
        """
        raise NotImplementedError

    def path(self, uri: str) -> str:
        """The path of a file on `filesystem`."""
        return uri.partition("://")[2]

    def size(self, uri: str) -> int:
        """The bytes of a file."""
        raise NotImplementedError

    def get(self, uri: str, start: int = 0, stop: int | None = None) -> bytes:
        """The bytes [start, stop) of a file, to its end by default; the range lies in it."""
        raise NotImplementedError

    def put(self, uri: str, content: bytes | pa.Buffer) -> None:
        """Writes a file whole: a reader sees the old content or the new."""
        raise NotImplementedError

    def create(self, uri: str, content: bytes) -> bool:
        """Writes a file only if there is none, in one atomic step; whether it did.

        Commits and claims rest on it: of two that write at once exactly one may be told True.
        """
        raise NotImplementedError

    def copy(self, source: str, target: str) -> None:
        """Writes a file whole with the content of another; asked only where files lie `on_disk`, whose system copies them
        without passing them through this process."""
        raise NotImplementedError

    def remove(self, uri: str) -> None:
        """Removes a file if it is there."""
        raise NotImplementedError

    def page(self, folder: str, more: Any = None) -> Page:
        """A part of the files below a folder, however deep; nothing where there is no such folder."""
        raise NotImplementedError

    def folders(self, folder: str) -> list[str]:
        """The names of the folders directly below a folder, sorted."""
        raise NotImplementedError

    def make_folder(self, uri: str) -> None:
        """Makes a folder, where files need one."""

    def remove_folder(self, uri: str) -> None:
        """Removes a folder without files, where there are such."""

    def refuses(self, error: Exception) -> bool:
        """Whether an error says that credentials are of no use, where its words do not show it."""
        return False

    def credentials(self, scheme: str) -> str:
        """Where the credentials come from, for the error of a refusal; none of them themselves."""
        return ""

    def forget(self) -> None:
        """Closes the connections: the next call looks at the environment anew."""


def key_of(uri: str) -> tuple[str, str]:
    """The bucket and the key of an object."""
    bucket, _, name = uri.partition("://")[2].partition("/")
    return bucket, name.rstrip("/")


def prefix_of(folder: str) -> tuple[str, str]:
    """The bucket of a folder, and how the keys below the folder begin."""
    bucket, name = key_of(folder)
    return bucket, f"{name}/" if name else ""
