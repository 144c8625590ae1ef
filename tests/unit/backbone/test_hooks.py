"""Hooks: what they record or change inside their block, and that nothing of them stays after it."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
import torch
from torch import Tensor, nn

from ldke_pl.backbone.hooks import captured, early_exit, first_tensor, forward_hooks, only_positions, replaced, traced

Block = Callable[[nn.Module], AbstractContextManager[object]]
BLOCKS: dict[str, Block] = {
    "forward_hooks": lambda module: forward_hooks([(module, lambda _m, _i, output: output + 1)]),
    "captured": lambda module: captured({"it": module}, keep_graph=True),
    "traced": lambda module: traced({"it": module}),
    "early_exit": early_exit,
    "only_positions": lambda module: only_positions(module, torch.ones(1, 1, dtype=torch.bool)),
    "replaced": lambda module: replaced(module, lambda x: x),
}


def hooks_of(module: nn.Module) -> int:
    return len(module._forward_hooks) + len(module._forward_pre_hooks) + ("forward" in vars(module))


@pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)
def test_hooks_are_gone_after_the_block(block: Block) -> None:
    module = nn.Linear(2, 2)
    with block(module):
        assert hooks_of(module) == 1
    assert hooks_of(module) == 0


@pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)
def test_hooks_are_gone_after_an_exception_which_goes_on(block: Block) -> None:
    module = nn.Linear(2, 2)
    with pytest.raises(KeyError, match="ours"), block(module):
        raise KeyError("ours")
    assert hooks_of(module) == 0


def test_hooks_installed_before_a_failing_one_are_removed() -> None:
    module = nn.Linear(2, 2)
    with pytest.raises(AttributeError), forward_hooks([(module, lambda *_: None), (None, lambda *_: None)]):  # type: ignore[list-item]
        pass
    assert hooks_of(module) == 0


def test_hooks_run_before_those_that_were_there() -> None:
    module, seen = nn.Identity(), []
    handle = module.register_forward_hook(lambda _m, _i, output: seen.append(output.item()))
    with forward_hooks([(module, lambda _m, _i, output: output + 1)]):
        module(torch.zeros(()))
    handle.remove()
    assert seen == [1.0]


def test_captured_outputs_are_named_detached_and_the_latest() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))
    first, second = torch.randn(2, 1, 3)
    with captured({"low": model[0], "high": model[1]}) as outputs:
        model(first)
        model(second)
    assert outputs.keys() == {"low", "high"}
    assert torch.equal(outputs["low"], model[0](second))
    assert not outputs["high"].requires_grad


def test_captured_inputs_are_what_a_module_was_given() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))
    states = torch.randn(1, 3)
    with captured({"high": model[1]}, inputs=True) as inputs, early_exit(model[1]):
        model(states)
    torch.testing.assert_close(inputs["high"], model[0](states).detach())
    assert not inputs["high"].requires_grad


def test_captured_graph_gives_gradients_of_a_frozen_model() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 1)).requires_grad_(False)
    with captured({"state": model[0]}, keep_graph=True) as outputs:
        total = model(torch.randn(4, 3)).sum()
    (gradient,) = torch.autograd.grad(total, [outputs["state"]])
    wanted = (1 - outputs["state"].tanh() ** 2) * model[2].weight
    torch.testing.assert_close(gradient, wanted)


def test_first_tensor_takes_old_and_new_layer_outputs() -> None:
    states = torch.ones(1)
    assert first_tensor(states) is first_tensor((states, None)) is states


def test_early_exit_runs_no_layer_above_and_is_captured() -> None:
    class Fails(nn.Module):
        def forward(self, states: Tensor) -> Tensor:
            raise AssertionError("a layer above ran")

    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), Fails())
    with captured({"top": model[1]}) as outputs, early_exit(model[1]):
        model(torch.ones(1, 2))
    assert torch.equal(outputs["top"], model[1](model[0](torch.ones(1, 2))))


def test_only_positions_feeds_the_selected_states_in_order() -> None:
    head, states = nn.Linear(4, 5), torch.randn(2, 3, 4)
    positions = torch.tensor([[False, True, True], [True, False, False]])
    with only_positions(head, positions):
        logits = head(states)
    torch.testing.assert_close(logits, head(torch.stack([states[0, 1], states[0, 2], states[1, 0]])[None]))


def test_replaced_forward_runs_under_the_modules_hooks_and_gives_back_what_was_there() -> None:
    module = nn.Linear(2, 2)
    own = module.forward = lambda states: states + 1  # type: ignore[method-assign]
    with captured({"it": module}) as seen, replaced(module, lambda states: states * 3):
        assert torch.equal(module(torch.ones(1)), torch.full((1,), 3.0))
    assert torch.equal(seen["it"], torch.full((1,), 3.0))
    assert module.forward is own
