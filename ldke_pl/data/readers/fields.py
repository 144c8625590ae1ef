"""Read the values of one JSON object key by key, noting every fault instead of stopping at the first."""

import difflib
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path, PureWindowsPath

_TYPE_NAMES: dict[type, str] = {
    dict: "an object",
    list: "a list",
    str: "a text",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    type(None): "null",
}


def json_type(value: object) -> str:
    """The JSON name of the type of ``value``, with its article."""
    return _TYPE_NAMES[type(value)]


def filled(value: object) -> bool:
    """Whether ``value`` says anything: published files write null, "", [] and {} for what a row does not have."""
    if isinstance(value, str):
        return bool(value.strip())
    return value is not None and value != [] and value != {}


def did_you_mean(name: str, choices: Collection[str]) -> str:
    """Sentences about an unknown ``name``: the closest choice, if any is close, and all choices."""
    close = difflib.get_close_matches(name, choices, n=1)
    guess = f'Did you mean "{close[0]}"? ' if close else ""
    return f"{guess}Choices: {', '.join(choices)}."


def join_image(value: str, root: Path | None) -> Path:
    """Join an annotation's image path to the image root.

    Args:
        value: the path as the annotation file gives it.
        root: the image root with its links resolved, or None to keep the relative path.

    Raises:
        ValueError: the path is absolute or leaves the root; the message completes "this path ...".
    """
    # Windows rules read both separators and drive letters, so they reject every foreign absolute path too.
    path = PureWindowsPath(value)
    if path.drive or path.root:
        raise ValueError("is an absolute path; paths are relative to the image root")
    if ".." in path.parts:
        raise ValueError('contains ".."; a path may not leave the image root')
    if "\0" in value:
        raise ValueError("contains a null character")
    if root is None:
        return Path(value)
    if not Path(os.path.realpath(root / value)).is_relative_to(root):
        raise ValueError("leaves the image root through a symbolic link")
    return root / value


class Fields:
    """The values of one JSON object.

    A getter that finds a fault notes it and returns an empty value, so that one pass finds all faults of a
    row; whoever builds something from the values discards it if ``faults`` is not empty.

    Args:
        values: the JSON object.
        root: the image root with its links resolved, or None to keep relative image paths.
        faults: where faults are noted, by the key's full name; the first fault of a key stays.
        prefix: what to put before a key to name it in full ("probes[2].").
    """

    def __init__(
        self, values: Mapping[str, object], root: Path | None, faults: dict[str, str], prefix: str = ""
    ) -> None:
        self._values = values
        self._root = root
        self._faults = faults
        self._prefix = prefix

    def fault(self, key: str, reason: str) -> None:
        """Note that ``key`` is unusable; ``reason`` completes "this value ..."."""
        self._faults.setdefault(self._prefix + key, reason)

    @property
    def keys(self) -> Iterable[str]:
        """The keys that are there, null or not."""
        return self._values.keys()

    def has(self, key: str) -> bool:
        """Whether the key is there and not null."""
        return self._values.get(key) is not None

    def filled(self, key: str) -> bool:
        """Whether the key holds something: not null, and no empty text, list or object."""
        return filled(self._values.get(key))

    def holds_object(self, key: str) -> bool:
        """Whether the key holds an object, where files of a set differ in that."""
        return isinstance(self._values.get(key), dict)

    def require(self, keys: Collection[str]) -> None:
        """Note every one of ``keys`` that is missing or null."""
        for key in keys:
            if not self.has(key):
                self.fault(key, "is null" if key in self._values else "is missing")

    def require_present(self, keys: Collection[str]) -> None:
        """Note every one of ``keys`` that is missing; null is fine."""
        for key in keys:
            if key not in self._values:
                self.fault(key, "is missing")

    def only(self, keys: Collection[str]) -> None:
        """Note every key that is not one of ``keys``."""
        for key in self._values:
            if key not in keys:
                self.fault(key, f"is not a known key. {did_you_mean(key, keys)}")

    def text(self, key: str, *, empty_ok: bool = False) -> str:
        """A required text without surrounding white space, or a number, written as text.

        It is a fault if empty, unless ``empty_ok``.
        """
        self.require((key,))
        value = self._values.get(key)
        return "" if value is None else self._text(key, value, empty_ok)

    def texts(self, key: str) -> list[str]:
        """The texts under ``key``, be it one or a list of them; those that are empty or null are passed over."""
        return [self._text(name, item) for name, item in self._items(key)]

    def optional_text(self, key: str) -> str | None:
        """As :meth:`text`, but None where the key is missing, null or empty."""
        return self.text(key) if self.filled(key) else None

    def _items(self, key: str) -> list[tuple[str, object]]:
        value = self._values.get(key)
        named = [(f"{key}[{i}]", item) for i, item in enumerate(value)] if isinstance(value, list) else [(key, value)]
        return [(name, item) for name, item in named if filled(item)]

    def _text(self, key: str, value: object, empty_ok: bool = False) -> str:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return str(value)
        if not isinstance(value, str):
            self.fault(key, f"is {json_type(value)}, not a text")
            return ""
        text = value.strip()
        if not text and not empty_ok:
            self.fault(key, "is empty")
        if any("\ud800" <= char <= "\udfff" for char in text):
            self.fault(key, "contains half of a surrogate pair, which no file or tokenizer can hold")
        return text

    def optional_flag(self, key: str, *, default: bool) -> bool:
        """A true or false; ``default`` where the key is missing or null."""
        value = self._values.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.fault(key, f"is {json_type(value)}, not true or false")
        return value is True

    def image(self, key: str) -> Path:
        """A required image path, joined to the image root."""
        return self.join(key, self.text(key))

    def images(self, key: str) -> list[Path]:
        """The image paths under ``key``, be it one or a list of them; those that are empty or null are passed over."""
        return [self.join(name, self._text(name, item)) for name, item in self._items(key)]

    def join(self, key: str, value: str) -> Path:
        """The path ``value``, which is or stems from what ``key`` holds, joined to the image root."""
        if self._prefix + key in self._faults:
            return Path()
        try:
            return join_image(value, self._root)
        except ValueError as error:
            self.fault(key, f"{error} ({value!r})")
            return Path()

    def optional_image(self, key: str) -> Path | None:
        """As :meth:`image`, but None where the key is missing, null or empty."""
        return self.image(key) if self.filled(key) else None

    def child(self, key: str) -> "Fields | None":
        """The object under ``key``; None where it is missing or null, and, with a fault, where it is no object."""
        return self._nested(key, self._values[key]) if self.has(key) else None

    def children(self, key: str) -> "list[Fields]":
        """The objects in the list under ``key``; none where it is missing, null or empty."""
        value = self._values.get(key)
        if not filled(value):
            return []
        if not isinstance(value, list):
            self.fault(key, f"is {json_type(value)}, not a list")
            return []
        nested = (self._nested(f"{key}[{index}]", item) for index, item in enumerate(value))
        return [child for child in nested if child is not None]

    def texts_or_children(self, key: str) -> "Iterator[str | Fields]":
        """The texts and objects under ``key``, be it one or a list of them; what is empty or null is passed over."""
        for name, item in self._items(key):
            if isinstance(item, dict):
                yield Fields(item, self._root, self._faults, f"{self._prefix}{name}.")
            else:
                yield self._text(name, item)

    def _nested(self, name: str, value: object) -> "Fields | None":
        if not isinstance(value, dict):
            self.fault(name, f"is {json_type(value)}, not an object")
            return None
        return Fields(value, self._root, self._faults, f"{self._prefix}{name}.")
