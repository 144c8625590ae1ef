"""The keys of all edits in one place, and which of them a query goes to. Ours.

The pair head is dear: it compares token by token. Among many edits it therefore sees only those that a coarse search
chooses, which knows the thing that an edit is about by one short vector, and its question by another.
"""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from ldke_pl.router.base import Key, Router
from ldke_pl.router.directions import ROWS, principal_directions
from ldke_pl.router.features import Features
from ldke_pl.router.nearest import Nearest, grown
from ldke_pl.router.similarities import is_there, mark

ALL = 64
"""Up to so many keys, every one is compared with every query."""

WIDTH = 64
"""Numbers by which the coarse search knows a key."""

COMPARED = 32
"""Keys that the coarse search chooses in each space."""

SAME = 0.025
"""By so much nearer to the query's thing, as one logit likelier to be touched by its question."""

QUERIES = 8
"""Queries whose candidates are gathered at a time."""


class KeyIndex:
    """Keys by name; those that are in force are searched.

    Keys lie in one tensor per part, on the CPU, with room to spare: adding, hiding or removing one copies no others.

    Args:
        router: compares queries with keys, and says what a coarse search is to know both by.
    """

    def __init__(self, router: Router) -> None:
        self.router = router
        self._slots: dict[str, int] = {}
        self._names: list[str] = []
        self._free: list[int] = []
        self._parts: Features = {}
        self._lengths: Features = {}
        self._in_force = torch.zeros(0, dtype=torch.bool)
        self._spaces: dict[str, _Space] = {}
        self._guesses = torch.zeros(0, 0)
        self._size = 0

    def __len__(self) -> int:
        """How many keys are in force."""
        return self._size

    def __contains__(self, name: str) -> bool:
        """Whether there is such a key, in force or hidden."""
        return name in self._slots

    def names(self) -> list[str]:
        """The names of the keys in force, in no particular order."""
        return [self._names[slot] for slot in self._in_force.nonzero().squeeze(1).tolist()]

    def key(self, name: str) -> Key:
        """A key, in force or hidden, which is kept here alone."""
        return _Kept(self._parts, self._slots[name])

    def add(self, names: Sequence[str], keys: Sequence[Key]) -> None:
        """Keep keys, all of one router, under names that are not there yet, and put them in force."""
        if not names:
            return
        slots = torch.tensor([self._slot(name) for name in names])
        room = len(self._names)
        self._in_force = grown(self._in_force, room)
        for part in keys[0]:
            new = torch.stack([key[part].cpu() for key in keys])
            held = self._parts.get(part, new[:0])
            if part.endswith("_tokens"):  # room is kept for as many as the longest key has
                known = held.shape[1] if len(held) else 1
                longest = max(known, int(is_there(new).any(0).sum()))
                lengths = is_there(new).sum(1)
                self._lengths[part] = grown(self._lengths.get(part, lengths[:0]), room)
                self._lengths[part][slots] = lengths
                new, held = _of_length(new, longest), _of_length(held, longest)
            self._parts[part] = grown(held, room)
            self._parts[part][slots] = new
        self._put(slots)

    def hide(self, name: str) -> None:
        """Keep a key, and let no query go to it."""
        slot = self._slots[name]
        if self._in_force[slot]:
            self._in_force[slot] = False
            self._size -= 1
            for space in self._spaces.values():
                space.nearest.remove(slot)
            if self._size <= ALL:
                self._spaces.clear()
                self._guesses = torch.zeros(0, 0)

    def show(self, name: str) -> None:
        """Put a hidden key in force again."""
        self._put(torch.tensor([self._slots[name]]))

    def remove(self, name: str) -> None:
        """Forget a key."""
        self.hide(name)
        self._free.append(self._slots.pop(name))

    def best(self, queries: Features) -> tuple[list[str], Tensor]:
        """The most relevant key of each query, "" where there is none in force, and how relevant it is, (queries,)."""
        count = len(queries["seen"])
        if not count or not self._size:
            return [""] * count, torch.zeros(count)
        step = count if self._all_compared else QUERIES
        names, best = [], []
        for asked in _batches(self.router.asked(queries), step):
            slots, relevance = self._compared(asked)
            top, where = relevance.max(1)
            found = slots.gather(1, where[:, None]).squeeze(1).tolist()
            names += ["" if slot < 0 else self._names[slot] for slot in found]
            best.append(top)
        return names, torch.cat(best)

    def ranked(self, queries: Features, most: int) -> list[dict[str, float]]:
        """The most relevant keys in force of each query and how relevant they are, best first, ``most`` at the most.

        Among many keys, only those that the coarse search finds are compared.
        """
        if not self._size:
            return [{} for _ in queries["seen"]]
        found = []
        for asked in _batches(self.router.asked(queries), 1):
            slots, relevance = self._compared(asked)
            order = relevance[0].argsort(descending=True, stable=True)
            values: dict[str, float] = {}
            for slot, value in zip(slots[0, order].tolist(), relevance[0, order].tolist(), strict=True):
                if slot >= 0:  # one key may have been found in several spaces
                    values.setdefault(self._names[slot], value)
            found.append(dict(list(values.items())[:most]))
        return found

    @property
    def _all_compared(self) -> bool:
        return self._size <= ALL or not self._spaces

    def _compared(self, asked: Features) -> tuple[Tensor, Tensor]:
        """Slots of keys that are worth comparing, -1 for none, and how relevant they are: (queries, keys) each."""
        if self._all_compared:
            slots = self._in_force.nonzero().squeeze(1)
            relevance = self.router.compare(asked, self._taken(slots)).cpu()
            return slots.expand(len(relevance), -1), relevance
        views, guesses = self.router.query_views(asked), self.router.query_guesses(asked)
        placed = {name: space.placed(views[name]) for name, space in self._spaces.items()}
        found = [
            torch.cat([self._chosen(space, placed[name][query], guess) for name, space in self._spaces.items()])
            for query, guess in enumerate(guesses)
        ]
        slots = pad_sequence([torch.tensor([-1]), *found], batch_first=True, padding_value=-1)[1:]
        relevance = self.router.compare(asked, self._taken(slots.clamp_min(0))).cpu()
        return slots, relevance.masked_fill(slots < 0, 0)

    def _chosen(self, space: "_Space", placed: Tensor, guess: Tensor) -> Tensor:
        """Slots of keys near a query's thing whose question is likely to touch its own, the best first."""
        slots, near = space.nearest.search(placed)
        if len(slots) > COMPARED:
            touched = (self._guesses[slots] @ guess).clamp_max(0)
            slots = slots[(near / SAME + touched).topk(COMPARED).indices]
        return slots

    def _taken(self, slots: Tensor) -> Features:
        """Keys at some slots, on the model's device; their tokens as long as the longest of them, and marked."""
        device = self.router.reader.backbone.device
        taken: Features = {}
        for part, values in self._parts.items():
            if part in self._lengths and slots.numel():
                lengths = self._lengths[part][slots]
                longest = max(1, int(lengths.max()))
                values = values[:, :longest]
                taken |= mark(part, lengths.to(device), longest)
            taken[part] = torch.unflatten(values.index_select(0, slots.flatten()), 0, slots.shape).to(device)
        return taken

    def _slot(self, name: str) -> int:
        if self._free:
            slot = self._free.pop()
            self._names[slot] = name
        else:
            slot = len(self._names)
            self._names.append(name)
        self._slots[name] = slot
        return slot

    def _put(self, slots: Tensor) -> None:
        """Put kept keys in force."""
        self._in_force[slots] = True
        self._size = int(self._in_force.sum())
        if self._size <= ALL:
            return
        for name, views in self.router.key_views(self._cut(slots)).items():
            space = self._spaces.get(name)
            if space is None or self._size >= 2 * space.fitted:
                space = self._spaces[name] = self._fitted(name)
            else:
                space.put(slots, views)
        self._guess(slots if len(self._guesses) else self._in_force.nonzero().squeeze(1))

    def _guess(self, slots: Tensor) -> None:
        """Note what the coarse search knows the questions of these keys by."""
        for part in torch.split(slots, ROWS):
            guesses = self.router.key_guesses(self._cut(part))
            if not self._guesses.shape[1]:
                self._guesses = guesses[:0]
            self._guesses = grown(self._guesses, len(self._names))
            self._guesses[part] = guesses

    def _fitted(self, name: str) -> "_Space":
        """A space of all keys in force, its projection fitted on them: done anew whenever they have doubled."""
        slots = self._in_force.nonzero().squeeze(1)
        chosen = slots[:: max(1, len(slots) // ROWS)]
        space = _Space(self.router.key_views(self._cut(chosen))[name], len(slots))
        for part in torch.split(slots, ROWS):
            space.put(part, self.router.key_views(self._cut(part))[name])
        return space

    def _cut(self, slots: Tensor) -> Features:
        return {part: values[slots] for part, values in self._parts.items()}


class _Space:
    """What one kind of view of keys, and of queries, is compared in.

    Args:
        views: of the keys that the projection is fitted on, (keys, width); rows of zeros are no views.
        fitted: how many keys were in force then.
    """

    def __init__(self, views: Tensor, fitted: int) -> None:
        self.fitted = fitted
        views = views[is_there(views)]
        self.centre = views.mean(0) if len(views) else views.new_zeros(views.shape[1])
        self.directions = principal_directions(views - self.centre, min(WIDTH, views.shape[1]))
        self.nearest = Nearest(self.directions.shape[1])

    def put(self, slots: Tensor, views: Tensor) -> None:
        """Keys that have a view here can be found from now on."""
        there = is_there(views)
        if there.any():
            self.nearest.put(slots[there], self.placed(views[there]))

    def placed(self, views: Tensor) -> Tensor:
        """Views, (..., width), as the search takes them: unit vectors, or zeros for none."""
        return nn.functional.normalize((views - self.centre) @ self.directions, dim=-1) * is_there(views)[..., None]


def _batches(features: Features, size: int) -> Iterator[Features]:
    """So many queries at a time."""
    for start in range(0, len(features["seen"]), size):
        yield {name: values[start : start + size] for name, values in features.items()}


def _of_length(tokens: Tensor, length: int) -> Tensor:
    """Keys' tokens, (keys, tokens, width), cut or filled with zeros."""
    return nn.functional.pad(tokens[:, :length], (0, 0, 0, max(0, length - tokens.shape[1])))


class _Kept(Mapping[str, Tensor]):
    """A key as a view of where it is kept."""

    def __init__(self, parts: Features, slot: int) -> None:
        self._parts, self._slot = parts, slot

    def __getitem__(self, name: str) -> Tensor:
        return self._parts[name][self._slot]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)
