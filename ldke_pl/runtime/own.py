"""The end of a run of edits of one's own: what became of each, and what to do next."""

import shlex
from collections.abc import Sequence

from rich.text import Text

from ldke_pl.metrics.results import ProbeResult
from ldke_pl.report.own import clean, print_edits, told
from ldke_pl.runtime.session import Session

NOT_TAKEN = 1
"""Exit status of a run after which an edit does not give its target."""


def conclude(session: Session, rows: Sequence[ProbeResult], methods: Sequence[str]) -> int:
    """Print what became of every edit, by each of ``methods``; returns the exit status."""
    console, status = session.console, 0
    for method in methods:
        edits = told(rows, method)
        print_edits(edits, console)
        failed = [clean(edit.own.case_id) for edit in edits if not edit.took]
        console.print(Text(f"{method}: {len(edits) - len(failed)} of {len(edits)} edits took", "bold"))
        if failed:
            console.print(Text(f"did not take: {', '.join(failed)}", "bold red"))
        if failed or not edits:
            status = NOT_TAKEN
    console.print(Text(f"report: {session.folder / 'report.html'}"), soft_wrap=True)
    if any(session.config.editor[method].routing == "shared" for method in methods):  # others leave no artefact
        console.print(Text(f"edits: {session.folder / 'edits'}; ask the edited model with"), soft_wrap=True)
        console.print(Text(f"  {_ask(session)}"), soft_wrap=True)
    return status


def _ask(session: Session) -> str:
    """A command that asks the edited model the first edit's question."""
    request = session.cases[0].request
    words = ["python", "-m", "ldke_pl.edits", "ask", str(session.folder / "edits"), request.prompt]
    return shlex.join(words + ([f"picture={request.image}"] if request.image is not None else []))
