"""Messages of the live page."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from model_cases import edited
from producing import ASKED, Tools, produces, raised

from ldke_pl.app import Session
from ldke_pl.app import __main__ as command
from ldke_pl.data import EditRequest


@contextmanager
def session(tools: Tools) -> Iterator[Session]:
    """A session whose edits are written where the editor always writes them."""
    localization: Any = None
    made = Session(edited(tools), localization, ["entity"], 20)
    yield made
    made.close()


def need_gradio(tools: Tools) -> None:
    """Skip where the package is missing; what serving puts into the environment is taken out again."""
    tools.patch.setenv("GRADIO_ANALYTICS_ENABLED", "False")  # read when Gradio is imported
    tools.patch.setenv("GRADIO_TEMP_DIR", str(tools.folder))
    pytest.importorskip("gradio", reason="needs the [app] extra")


@produces("The live page needs Gradio.")
def no_gradio(tools: Tools) -> str:
    tools.patch.setattr(command, "find_spec", lambda name: None)
    return raised(lambda: command.main([]))


@produces("Port <n> of <host> is taken, or may not be used.")
def taken_port(tools: Tools) -> str:
    need_gradio(tools)
    with session(tools) as made, socket.create_server((command.HOST, 0)) as other:
        return raised(lambda: command.serve(made, other.getsockname()[1]))


@produces("There is no question.")
def no_question(tools: Tools) -> str:
    with session(tools) as made:
        return raised(lambda: made.ask(None, " "))


@produces("An edit needs a question and the answer to give.")
def no_answer(tools: Tools) -> str:
    with session(tools) as made:
        return raised(lambda: next(made.edit(EditRequest(None, ASKED.prompt, " "))))


@produces("No edit is chosen.")
def no_edit(tools: Tools) -> str:
    need_gradio(tools)
    from ldke_pl.app import handlers

    told: list[str] = []
    tools.patch.setattr(handlers.gr, "Warning", told.append)
    with session(tools) as made:
        handlers.Handlers(made).roll_back(None)
    (message,) = told
    return message
