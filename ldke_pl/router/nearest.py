"""Unit vectors that come and go, searched for those nearest to a query. Ours; from many on, with FAISS."""

import importlib.util
import logging
from typing import Any

import numpy as np
import torch
from torch import Tensor

log = logging.getLogger(__name__)

FAISS_FROM = 50_000
"""Vectors from which an approximate search saves time."""

HASHTABLE = 2
"""``faiss.DirectMap.Hashtable``, which its type hints lack: an entry is found, to be removed, without a search."""

PROBED = 16
"""The approximate search looks at one in so many of its lists, and at no fewer lists than this."""

MATCHED = 3
"""A vector is as near to a query as, on average, to so many of the query's vectors: those that it is nearest to."""

MOST = 256
"""How many are found."""


class Nearest:
    """Search by inner product: exact, or from ``approximate_from`` vectors on by FAISS' inverted lists (IVF).

    Vectors are added, replaced and removed at a cost that does not depend on how many there are. The lists are made
    once, from the first vectors that are enough for them; when there are several times as many, make a new search.

    Args:
        width: numbers per vector.
    """

    def __init__(self, width: int, approximate_from: int = FAISS_FROM) -> None:
        self.width, self.approximate_from = width, approximate_from
        self.vectors = torch.zeros(0, width)
        self.there = torch.zeros(0, dtype=torch.bool)
        self._lists: Any = None

    def put(self, slots: Tensor, vectors: Tensor) -> None:
        """Unit vectors, (n, width), at slots of their own, (n,) long; what was there is replaced."""
        self._unlist(slots)
        most = int(slots.max()) + 1
        self.vectors, self.there = grown(self.vectors, most), grown(self.there, most)
        self.vectors[slots], self.there[slots] = vectors, True
        if self._lists is not None:
            self._lists.add_with_ids(vectors.numpy(), slots.numpy())
        elif len(self.there) >= self.approximate_from and int(self.there.sum()) >= self.approximate_from:
            self._enlist()

    def remove(self, slot: int) -> None:
        """Find the vector at ``slot`` no more."""
        self._unlist(torch.tensor([slot]))
        if slot < len(self.there):
            self.there[slot] = False

    def search(self, asked: Tensor) -> tuple[Tensor, Tensor]:
        """The ``MOST`` slots nearest to one query, nearest first, and how near they are, (found,) each.

        Args:
            asked: the query's vectors, (vectors, width), of unit length; vectors of zeros ask nothing.
        """
        asked = asked[asked.abs().sum(-1) > 0]
        if not len(asked) or not len(self.there):
            return torch.zeros(0, dtype=torch.long), torch.zeros(0)
        if self._lists is None:
            scores = _nearness(asked, self.vectors).masked_fill(~self.there, -torch.inf)
            near, slots = scores.topk(min(MOST, int(self.there.sum())))
            return slots, near
        listed = self._listed(asked)
        near, places = _nearness(asked, self.vectors[listed]).topk(min(MOST, len(listed)))
        return listed[places], near

    def _listed(self, asked: Tensor) -> Tensor:
        """All that is among the nearest to any of a query's vectors."""
        _, slots = self._lists.search(asked.numpy(), MOST)
        found = torch.from_numpy(np.unique(slots))
        return found[found >= 0]

    def _enlist(self) -> None:
        if importlib.util.find_spec("faiss") is None:
            log.warning("%d keys are searched one by one; faiss-cpu would be faster.", int(self.there.sum()))
            self.approximate_from = 2 * len(self.there)
            return
        import faiss

        slots = self.there.nonzero().squeeze(1)
        vectors = self.vectors[slots].numpy()
        count = max(1, min(int(4 * len(slots) ** 0.5), len(slots) // 40))
        self._lists = faiss.IndexIVFFlat(faiss.IndexFlatL2(self.width), self.width, count)
        self._lists.nprobe = max(PROBED, count // PROBED)
        self._lists.train(vectors)
        self._lists.set_direct_map_type(HASHTABLE)
        self._lists.add_with_ids(vectors, slots.numpy())

    def _unlist(self, slots: Tensor) -> None:
        """Take away what is in the lists under ``slots``."""
        if self._lists is None:
            return
        import faiss

        known = slots[slots < len(self.there)]
        gone = known[self.there[known]].numpy()
        if len(gone):
            self._lists.remove_ids(faiss.IDSelectorArray(len(gone), faiss.swig_ptr(gone)))


def _nearness(asked: Tensor, vectors: Tensor) -> Tensor:
    """How near vectors are to a query, (vectors,)."""
    return (vectors @ asked.T).topk(min(MATCHED, len(asked)), dim=1).values.mean(1)


def grown(values: Tensor, least: int, fill: int = 0) -> Tensor:
    """``values`` with room for ``least`` rows or more: twice as many as before, so that growing is seldom."""
    if len(values) >= least:
        return values
    larger = values.new_full((max(least, 2 * len(values), 64), *values.shape[1:]), fill)
    larger[: len(values)] = values
    return larger
