"""What the page shows, as HTML: answers, routes, scores, a loss that falls, edits. Every text is escaped."""

import math
from collections.abc import Sequence
from html import escape

from ldke_pl.app.localization import Localized
from ldke_pl.app.session import Answer, Entry, Written
from ldke_pl.editors.watch import Step
from ldke_pl.errors import LDKEError

WIDTH, HEIGHT = 320, 90
"""Of the loss curve, in units of its own."""

BY_KIND = "The site was chosen by the kind of the edit, as validation edits showed; scores are for comparison."
BY_SCORE = "The site was chosen by its score."


NOTHING_WRITTEN = '<p class="none">Shown here while an edit is written: its sites, and its objective as it falls.</p>'


BEGUN = '<p class="none" role="status">Writing the edit …</p>'


def answer(found: Answer) -> str:
    """Both answers side by side, the route, and how relevant edits are to the question."""
    changed = " changed" if found.base != found.edited else ""
    said = "".join(
        f'<div class="said{mark}"><dt>{name}</dt><dd>{_text(text)}</dd></div>'
        for name, text, mark in (("Base model", found.base, ""), ("Edited model", found.edited, changed))
    )
    return f'<dl class="answers">{said}</dl>{_route(found)}{_relevance(found)}'


def _route(found: Answer) -> str:
    if found.route is None:
        why = "no edit is relevant enough" if found.relevance else "no edit is in force"
        return f'<p class="route">Route: <b>base</b> ({why})</p>'
    return f'<p class="route">Route: edit <b>{escape(found.route.edit_id)}</b>, {_fact(found.route)}</p>'


def _relevance(found: Answer) -> str:
    if not found.relevance:
        return ""
    rows = "".join(
        _row(_fact(entry), entry.edit_id, value, max(0.0, min(1.0, value)), entry == found.route)
        for entry, value in found.relevance
    )
    caption = f"The most relevant edit gets the question if its relevance is {found.threshold:.3f} or more."
    return _scores(caption, ("edit", "relevance"), rows)


def localized(found: Localized) -> str:
    """The score of every site, those that are written to marked."""
    known = [value for value in found.scores.values() if math.isfinite(value)]
    low, high = min(known, default=0.0), max(known, default=1.0)
    rows = []
    for site, value in found.scores.items():
        share = (value - low) / (high - low or 1.0)
        rows.append(_row(escape(site), "", value, share, site in found.chosen))
    why = BY_KIND if found.kind else BY_SCORE
    caption = f"Localization: {escape(found.name)} score of each site, bars from the lowest to the highest. {why}"
    table = _scores(caption, ("site", "score"), "".join(rows))
    return f'<div class="scroll" tabindex="0" role="region" aria-label="Scores of sites">{table}</div>'


def _scores(caption: str, names: tuple[str, str], rows: str) -> str:
    head = f'<th scope="col">{names[0]}</th><th scope="col" colspan="2">{names[1]}</th>'
    return (
        f'<table class="scores"><caption>{caption}</caption><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
    )


def _row(name: str, small: str, value: float, share: float, chosen: bool) -> str:
    """A named value with its bar; ``share`` of the longest bar, from 0 to 1."""
    told = f"{value:.3f}" if math.isfinite(value) else "not possible"
    bar = f'<i style="width:{100 * share:.0f}%"></i>' if math.isfinite(value) else ""
    below = f"<small>{escape(small)}</small>" if small else ""
    mark = ' <b class="mark">chosen</b>' if chosen else ""
    kind = ' class="chosen"' if chosen else ""
    return f'<tr{kind}><th scope="row">{name}{mark}{below}</th><td>{told}</td><td class="bar">{bar}</td></tr>'


def steps(taken: Sequence[Step], most: int) -> str:
    """The objective as it falls, on a logarithmic scale."""
    if not taken:
        return ""
    first, last = taken[0], taken[-1]
    told = f"Objective, on a logarithmic scale: {first.loss:.4g} at first, {last.loss:.4g} after {last.steps} steps"
    told += f" of at most {most}"
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in _curve([step.loss for step in taken], most))
    box = f'viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none"'
    curve = f'<svg {box} aria-hidden="true"><polyline points="{points}"/></svg>'
    return f'<figure class="loss">{curve}<figcaption>{told}</figcaption></figure>'


def _curve(losses: Sequence[float], most: int) -> list[tuple[float, float]]:
    heights = [math.log(max(loss, 1e-12)) for loss in losses]
    low, high = min(heights), max(heights)
    scale = (HEIGHT - 8) / (high - low or 1.0)
    return [(WIDTH * i / max(1, most), 4 + (high - height) * scale) for i, height in enumerate(heights)]


def written(found: Written) -> str:
    """How an edit went: what its own question is answered with now."""
    entry, again = found.entry, found.again
    if again.route is None:
        return _note("warn", f"{_fact(entry)} is written, but the router still sends its own question to the base.")
    if again.route != entry:
        return _note("warn", f"{_fact(entry)} is written, but its own question goes to {_fact(again.route)}.")
    if again.edited != entry.target:
        return _note("warn", f"{_fact(entry)} is written, but its own question is answered {_text(again.edited)}.")
    return _note("good", f"{_fact(entry)} is written and answered so; before, the answer was {_text(again.base)}.")


def fault(error: LDKEError) -> str:
    """What went wrong, and what to do about it."""
    hint = f"<small>{escape(error.hint)}</small>" if error.hint else ""
    return _note("warn", f"{escape(error.message)}{hint}")


def edits(entries: Sequence[Entry]) -> str:
    """A line for each edit."""
    if not entries:
        return '<p class="none">No edits yet: every question goes to the base model.</p>'
    names = ("state", "prompt", "target", "sites", "id")
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    rows = "".join(_line(names, entry) for entry in entries)
    return f'<table class="edits"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'


def _line(names: Sequence[str], entry: Entry) -> str:
    values = (entry.state, entry.prompt, entry.target, ", ".join(entry.sites), entry.edit_id)
    cells = (f'<td data-name="{name}">{_text(value)}</td>' for name, value in zip(names, values, strict=True))
    return f'<tr data-state="{escape(entry.state)}">{"".join(cells)}</tr>'


def _note(kind: str, text: str) -> str:
    return f'<p class="note {kind}" role="status">{text}</p>'


def _fact(entry: Entry) -> str:
    return f"“{escape(entry.prompt)}” → <b>{escape(entry.target)}</b>"


def _text(text: str) -> str:
    return escape(text) if text.strip() else "<i>(empty)</i>"
