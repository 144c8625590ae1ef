"""Training of the classifier: objectives by hand, and a toy table learned in one process and in two."""

from collections import Counter
from pathlib import Path

import pytest
import torch
import toy_pairs
from torch import Tensor
from torch.nn.functional import softplus

from ldke_pl.modules.router import CaseStream, pair_loss, routing_loss
from ldke_pl.router import Features

LABELS = torch.tensor([[1, 0], [0, -1]])
"""A probe that is relevant to the first of two edits, and a locality probe of it that may be about the second."""


def test_pair_loss_is_the_mean_over_kinds_of_pairs() -> None:
    logits = torch.tensor([[2.0, -1.0], [0.5, 100.0]])
    wanted = (softplus(torch.tensor(-2.0)) + softplus(torch.tensor(-1.0)) + softplus(torch.tensor(0.5))) / 3
    torch.testing.assert_close(pair_loss(logits, LABELS), wanted)
    many = torch.cat([logits, logits[:1], logits[:1]])
    torch.testing.assert_close(pair_loss(many, LABELS[[0, 1, 0, 0]]), wanted)


def test_routing_loss_chooses_among_known_edits_and_the_base() -> None:
    logits = torch.tensor([[2.0, -1.0], [0.5, 100.0]])
    first = -torch.tensor([2.0, -1.0, 0.0]).log_softmax(0)[0]
    second = -torch.tensor([0.5, 0.0]).log_softmax(0)[1]
    torch.testing.assert_close(routing_loss(logits, LABELS), (first + second) / 2)
    torch.testing.assert_close(routing_loss(logits[1:], LABELS[1:]), second)


def test_stream_of_cases_takes_every_case_equally_often() -> None:
    stream = CaseStream(5, steps=4, batch_size=5, seed=0)
    assert Counter(stream[i] for i in range(len(stream))) == dict.fromkeys(range(5), 4)
    assert CaseStream(5, 3, 4, 0).order.tolist() == CaseStream(5, 3, 4, 0).order.tolist()
    assert CaseStream(5, 3, 4, 0).order.tolist() != CaseStream(5, 3, 4, 1).order.tolist()


def test_what_a_batch_is_about_is_not_in_its_cohort(monkeypatch: pytest.MonkeyPatch) -> None:
    module = toy_pairs.new_module()
    seen = []

    def embed(queries: Features, things: Features, known: Tensor) -> Features:
        seen.append((things, known))
        return original(queries, things, known)

    original = module.classifier.embed_queries
    monkeypatch.setattr(module.classifier, "embed_queries", embed)
    cases, probes = torch.tensor([3, 5]), torch.tensor([3, 5, 7, 15])  # the last two: of case 7, and about nothing
    module(cases, probes)
    cohort, known = seen[0]
    pictures = module.classifier.things(module.table.edits)["image_tokens"]
    rows = [int((pictures == one).flatten(1).all(1).nonzero()) for one in cohort["image_tokens"]]
    assert sorted(rows) == [i for i in range(toy_pairs.CASES) if i not in (3, 5)]
    assert known[2].tolist() == [row == 7 for row in rows]
    assert not known[[0, 1, 3]].any()


def test_training_lowers_the_loss(tmp_path: Path) -> None:
    module = toy_pairs.new_module()
    before = toy_pairs.loss(module)
    toy_pairs.train(module, tmp_path)
    assert toy_pairs.loss(module) < before / 2


@pytest.mark.parametrize("streams", ["thing", "question"])
def test_a_stream_alone_learns_and_leaves_the_other_as_it_was(tmp_path: Path, streams: str) -> None:
    module = toy_pairs.new_module(streams)
    made = module.classifier
    other = made.question if streams == "thing" else made.thing
    before = [p.clone() for p in other.parameters()], toy_pairs.loss(module)
    toy_pairs.train(module, tmp_path)
    assert toy_pairs.loss(module) < before[1]
    assert all(torch.equal(p, q) for p, q in zip(other.parameters(), before[0], strict=True))


@pytest.mark.skipif(torch.cuda.is_available(), reason="a process whose autograd has used a GPU cannot fork")
def test_two_processes_learn_as_much_of_the_same_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A forked process must not open a team of threads, which its parent may have used: that can hang.
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    torch.set_num_threads(1)
    alone, shared = toy_pairs.new_module(), toy_pairs.new_module()
    before = toy_pairs.loss(alone)
    toy_pairs.train(alone, tmp_path)
    toy_pairs.train(shared, tmp_path, "ddp_fork", 2)
    after, other = toy_pairs.loss(alone), toy_pairs.loss(shared)
    assert abs(after - other) < before / 20
