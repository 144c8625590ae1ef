"""What the meter counts: tokens by layer, gradients only where they pass, and sums over several runs."""

import pytest
import torch

from ldke_pl.backbone import Backbone
from ldke_pl.backbone.forward import answer_logits
from ldke_pl.backbone.hooks import captured, early_exit
from ldke_pl.backbone.meter import Meter
from ldke_pl.data import Question


def passed(backbone: Backbone) -> tuple[torch.Tensor, int]:
    """A forward pass over two rows, and how many tokens it has."""
    questions = [Question(None, "Who?"), Question(None, "Who leads it?")]
    batch, labels = backbone.prompts.encode_answers(questions, ["a", "b"])
    return answer_logits(backbone, batch, labels).loss_per_row(), batch["input_ids"].numel()


def test_forward_passes_add_up(backbone: Backbone) -> None:
    meter = Meter(backbone)
    for _ in range(2):
        with meter.running():
            _, tokens = passed(backbone)
    assert meter.forward == pytest.approx(2 * tokens)
    assert meter.backward == 0 and meter.cost == meter.forward and meter.seconds > 0


def test_a_pass_that_ends_early_costs_the_layers_that_it_passed(backbone: Backbone) -> None:
    meter = Meter(backbone)
    with meter.running(), early_exit(backbone.layers[1]):
        passed(backbone)
    _, tokens = passed(backbone)
    assert meter.forward == pytest.approx(tokens * 2 / len(backbone.layers))


def test_gradients_cost_the_layers_above_where_they_begin(backbone: Backbone) -> None:
    meter, begin = Meter(backbone), 2
    with meter.running(), captured({"site": backbone.layers[begin]}, keep_graph=True):
        _, tokens = passed(backbone)
    assert meter.backward == pytest.approx(tokens * (len(backbone.layers) - 1 - begin) / len(backbone.layers))
    assert meter.cost == pytest.approx(meter.forward + 2 * meter.backward)
