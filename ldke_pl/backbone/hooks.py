"""All forward hooks of the project, as context managers: what is installed on entry is gone on exit, error or not."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

Hook = Callable[[nn.Module, tuple[Any, ...], Any], Any]


@contextmanager
def forward_hooks(hooks: Iterable[tuple[nn.Module, Hook]]) -> Iterator[None]:
    """Install ``hooks`` on entry, in front of others, and remove them on exit.

    They are prepended because transformers captures hidden states with hooks of its own, which would otherwise run
    first and not see what ours change.
    """
    handles = []
    try:
        for module, hook in hooks:
            handles.append(module.register_forward_hook(hook, prepend=True))
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def captured(
    modules: Mapping[str, nn.Module], *, keep_graph: bool = False, inputs: bool = False
) -> Iterator[dict[str, Tensor]]:
    """Collect the outputs of ``modules`` by name during the forward passes inside; a later pass replaces an earlier.

    Args:
        keep_graph: keep the outputs in the autograd graph, which begins at the lowest of them if not before.
        inputs: collect what goes into the modules instead.
    """
    outputs: dict[str, Tensor] = {}

    def recorder(name: str) -> Hook:
        def record(_module: nn.Module, given: tuple[Any, ...], output: Any) -> None:
            tensor = first_tensor(given if inputs else output)
            outputs[name] = _in_graph(tensor) if keep_graph else tensor.detach()

        return record

    with forward_hooks((module, recorder(name)) for name, module in modules.items()):
        yield outputs


@contextmanager
def traced(modules: Mapping[str, nn.Module]) -> Iterator[dict[str, tuple[Tensor, Tensor]]]:
    """Collect the input and the output of ``modules`` by name during the forward passes inside, as in :func:`captured`.

    Inputs are detached; outputs stay in the autograd graph, which begins at the lowest of them if not before. What
    hooks installed inside change is in the outputs.
    """
    seen: dict[str, tuple[Tensor, Tensor]] = {}

    def recorder(name: str) -> Hook:
        def record(_module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            seen[name] = (inputs[0].detach(), _in_graph(first_tensor(output)))

        return record

    with forward_hooks((module, recorder(name)) for name, module in modules.items()):
        yield seen


def _in_graph(tensor: Tensor) -> Tensor:
    """The tensor itself; every weight is frozen, so that something has to begin the graph."""
    return tensor if tensor.requires_grad else tensor.requires_grad_(True)


class _LastLayerReachedError(Exception):
    """Ends a forward pass early; never leaves this file."""


@contextmanager
def early_exit(module: nn.Module) -> Iterator[None]:
    """End the forward pass inside as soon as ``module`` has run: the layers above it cost nothing."""

    def stop(_module: nn.Module, _inputs: tuple[Any, ...], _output: Any) -> None:
        raise _LastLayerReachedError

    # Registered without prepend, so that hooks that record this module's output run before it.
    handle = module.register_forward_hook(stop)
    try:
        yield
    except _LastLayerReachedError:
        pass
    finally:
        handle.remove()


def first_tensor(output: Any) -> Tensor:
    """The hidden states in a module's output: decoder layers return a tensor in transformers 5, tuples before."""
    return output if isinstance(output, Tensor) else output[0]


@contextmanager
def only_positions(module: nn.Module, positions: Tensor) -> Iterator[None]:
    """Feed ``module`` the hidden states at ``positions`` alone: (batch, seq, width) becomes (1, selected, width).

    Used on the LM head, whose output over a whole batch would be the largest tensor of the pass.

    Args:
        positions: (batch, seq) bool.
    """

    def select(_module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return (inputs[0][positions][None], *inputs[1:])

    handle = module.register_forward_pre_hook(select)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def replaced(module: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """Run ``forward`` in place of the module's own inside; the module's hooks still run."""
    own = vars(module).get("forward")
    module.forward = forward
    try:
        yield
    finally:
        del module.forward
        if own is not None:
            module.forward = own
