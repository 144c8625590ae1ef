"""Fields that know their help text, unit and range, and the walk over a schema that finds them.

A field of the configuration takes one line::

    tau: float = field(0.9, help="sites with score >= tau * max are selected; a fraction", gt=0, le=1)

Everything else (``--help``, type and range faults, did-you-mean) follows from that line.
"""

import copy
import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

T = TypeVar("T")


@runtime_checkable
class Checked(Protocol):
    """A section with rules over several of its fields."""

    def check(self) -> Iterable[tuple[str, str]]:
        """Yield ``(field name, what is wrong)`` for every rule that does not hold."""


@dataclass(frozen=True)
class Rules:
    """What a field accepts beyond its type; on a list, ``gt`` to ``choices`` hold for every element.

    Args:
        help: what the field does, with its unit.
        gt, ge, le: bounds of a number, each None for no bound. A bounded number must also be finite.
        choices: the only values accepted; empty for any.
        nonempty: whether a list needs an element, and a string a character.
    """

    help: str
    gt: float | None = None
    ge: float | None = None
    le: float | None = None
    choices: tuple[str, ...] = ()
    nonempty: bool = False

    @property
    def bounds(self) -> str:
        """The range in words, as in "> 0 and <= 1"; "" where there is none."""
        signs = ((">", self.gt), (">=", self.ge), ("<=", self.le))
        return " and ".join(f"{sign} {bound:g}" for sign, bound in signs if bound is not None)

    def faults(self, value: object) -> Iterator[str]:
        """Yield what is wrong with ``value``, which already has the field's type."""
        if value is None:
            return
        if self.nonempty and value in ("", []):
            yield "must not be empty"
        for item in value if isinstance(value, list) else [value]:
            if self.choices and item not in self.choices:
                yield f"must be one of {', '.join(self.choices)}, but got {item!r}{suggest(str(item), self.choices)}"
            if self.bounds and not self._within(item):
                yield f"must be {self.bounds}, but got {item!r}"

    def _within(self, value: object) -> bool:
        return (
            isinstance(value, int | float)
            and math.isfinite(value)
            and (self.gt is None or value > self.gt)
            and (self.ge is None or value >= self.ge)
            and (self.le is None or value <= self.le)
        )


@dataclass(frozen=True)
class Leaf:
    """One settable value of the configuration: its dotted ``key``, resolved type ``hint`` and ``rules``."""

    key: str
    hint: Any
    rules: Rules

    @property
    def is_text(self) -> bool:
        """Whether the value is a string, so that what the user typed must be kept as it stands."""
        return str in _members(self.hint)

    @property
    def is_optional(self) -> bool:
        """Whether null is a value of it."""
        return types.NoneType in _members(self.hint)


def field(
    default: T,
    *,
    help: str,
    gt: float | None = None,
    ge: float | None = None,
    le: float | None = None,
    choices: Sequence[str] = (),
    nonempty: bool = False,
) -> T:
    """Declare a field of a section; the arguments after ``default`` are those of :class:`Rules`.

    Args:
        default: the value where neither ``conf/`` nor the user sets one; ``MISSING`` makes the field mandatory.

    Returns:
        A dataclass field, typed as the value it holds (as :func:`dataclasses.field` is).
    """
    rules = Rules(help, gt, ge, le, tuple(choices), nonempty)
    made: Any = dataclasses.field(default_factory=lambda: copy.copy(default), metadata={"rules": rules})
    return typing.cast(T, made)


def section_of(hint: object) -> type | None:
    """The section's dataclass where ``hint`` is one or is a ``dict[str, section]``, else None."""
    inner = typing.get_args(hint)[1] if is_multiple(hint) else hint
    return inner if isinstance(inner, type) and dataclasses.is_dataclass(inner) else None


def is_multiple(hint: object) -> bool:
    """Whether ``hint`` is ``dict[str, ...]``: a group of which several choices stand side by side."""
    return typing.get_origin(hint) is dict


def sections(schema: type, names: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, type]]:
    """Yield ``(dotted prefix, dataclass)`` of ``schema`` itself and of each of its sections.

    Args:
        schema: a dataclass whose fields are sections or made by :func:`field`.
        names: for every section that stands several times (``dict[str, section]``), the names it stands under.
    """
    yield "", schema
    for key, hint in typing.get_type_hints(schema).items():
        section = section_of(hint)
        if section is None:
            continue
        prefixes = [f"{key}.{name}." for name in names[key]] if is_multiple(hint) else [f"{key}."]
        for prefix in prefixes:
            yield prefix, section


def leaves(schema: type, names: Mapping[str, Sequence[str]]) -> Iterator[Leaf]:
    """Yield every settable value of ``schema``; the arguments are those of :func:`sections`."""
    for prefix, section in sections(schema, names):
        hints = typing.get_type_hints(section)
        for item in dataclasses.fields(section):
            if section_of(hints[item.name]) is None:
                yield Leaf(prefix + item.name, hints[item.name], item.metadata["rules"])


def type_name(hint: Any) -> str:
    """Name a type hint as a user would: ``float``, ``list[int] or null``."""
    members = _members(hint)
    if len(members) > 1:
        return " or ".join(type_name(member) for member in members)
    if hint is types.NoneType:
        return "null"
    return str(hint) if typing.get_args(hint) else str(hint.__name__)


def suggest(word: str, options: Iterable[str]) -> str:
    """A "; did you mean ...?" clause for ``word``, or "" where nothing in ``options`` is close.

    A dotted key that is not close as a whole is also matched by its last part, so that ``tau`` finds
    ``localizer.tau``.
    """
    known = list(options)
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.7)
    if not near:
        tails = {option: option.rsplit(".", 1)[-1] for option in known}
        closest = difflib.get_close_matches(word.rsplit(".", 1)[-1], tails.values(), n=1, cutoff=0.8)
        near = [option for option, tail in tails.items() if tail in closest][:3]
    return f"; did you mean {' or '.join(near)}?" if near else ""


def _members(hint: Any) -> tuple[Any, ...]:
    """The types that a union allows; a type that is no union stands alone."""
    is_union = isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union
    return typing.get_args(hint) if is_union else (hint,)
