"""What holds for every test: no network, no hook left behind, no changed random state or thread count."""

import os

os.environ.update(HF_HUB_OFFLINE="1", WANDB_MODE="offline", TOKENIZERS_PARALLELISM="false")  # read at import

import gc
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.modules import module as torch_module
from torch.utils.hooks import RemovableHandle

REGISTER = ("register_forward_hook", "register_forward_pre_hook", "register_full_backward_hook")
GLOBAL_HOOKS = ("_global_forward_hooks", "_global_forward_pre_hooks", "_global_backward_hooks")
LIBRARIES = ("torch", "transformers", "accelerate", "lightning")
"""Their hooks may stay: transformers, for one, keeps those that capture hidden states."""
THREADS = int(os.environ.get("OMP_NUM_THREADS", "2"))
"""Set the variable to 1 where other programs keep the cores busy: two threads would wait for each other."""


@contextmanager
def watch_hooks() -> Iterator[list[str]]:
    """Record hooks registered inside the block; after it, the list names those that still stand on a living module."""
    handles: list[tuple[str, RemovableHandle]] = []
    left: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        for name in REGISTER:
            patch.setattr(nn.Module, name, _recording(getattr(nn.Module, name), handles))
        yield left
    if any(_stands(handle) for _, handle in handles):
        gc.collect()  # a module that only a reference cycle keeps alive is no leak
    left += [where for where, handle in handles if _stands(handle)]
    left += [name for name in GLOBAL_HOOKS if getattr(torch_module, name)]


def _recording(register: Any, handles: list[tuple[str, RemovableHandle]]) -> Any:
    def wrapper(self: nn.Module, *args: Any, **kwargs: Any) -> RemovableHandle:
        handle: RemovableHandle = register(self, *args, **kwargs)
        caller = sys._getframe(1)
        if caller.f_globals["__name__"].partition(".")[0] not in LIBRARIES:
            handles.append((f"{type(self).__name__} ({caller.f_code.co_filename}:{caller.f_lineno})", handle))
        return handle

    return wrapper


def _stands(handle: RemovableHandle) -> bool:
    hooks = handle.hooks_dict_ref()
    return hooks is not None and handle.id in hooks


@pytest.fixture(autouse=True)
def no_hook_left() -> Iterator[None]:
    """Fail a test that leaves a hook on a module that outlives it."""
    with watch_hooks() as left:
        yield
    if left:
        pytest.fail(f"hooks left behind: {', '.join(left)}")


@pytest.fixture
def hook_watch() -> Callable[[], AbstractContextManager[list[str]]]:
    """The check itself, for the tests of it."""
    return watch_hooks


@pytest.fixture(autouse=True)
def same_random_state() -> Iterator[None]:
    """Every test starts from seed 0 and leaves the generators as it found them."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    yield
    random.setstate(states[0])
    np.random.set_state(states[1])
    torch.set_rng_state(states[2])


@pytest.fixture(autouse=True, scope="module")
def threads_of_the_module(request: pytest.FixtureRequest) -> int:
    """Threads for a module's own fixtures and tests: those that it names as ``THREADS``, or the usual number."""
    count: int = getattr(request.module, "THREADS", THREADS)
    torch.set_num_threads(count)
    return count


@pytest.fixture(autouse=True)
def same_threads(threads_of_the_module: int) -> Iterator[None]:
    """Tests run on as many threads on any machine, so that sums come out the same."""
    torch.set_num_threads(threads_of_the_module)
    yield
    torch.set_num_threads(threads_of_the_module)
