"""The HTML report: escaped, self-contained, failures first, small, and never failing for want of a picture."""

import random
import re
from collections import Counter
from collections.abc import Callable, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ldke_pl.data.records import ProbeKind
from ldke_pl.metrics.results import ProbeResult
from ldke_pl.report.html import write_report

MakeRow = Callable[..., ProbeResult]

EVIL = """"><script>alert(1)</script><img src=x onerror='alert(2)'>&amp;{{ 7*7 }}</style></textarea>"""
FETCHING = {"src", "href", "srcset", "action", "formaction", "background", "poster", "data", "style", "ping"}
TAGS = {
    "html", "head", "meta", "title", "style", "body", "header", "main", "section", "h1", "h2", "p", "b", "small", "dl",
    "dt", "dd", "div", "span", "table", "caption", "thead", "tbody", "tfoot", "tr", "th", "td", "details", "summary",
    "form", "label", "select", "option", "input", "button", "output", "script", "nav", "a", "code", "figure",
    "figcaption", "svg", "path", "text", "br", "i",
}  # fmt: skip


class Page(HTMLParser):
    """Every start tag with its attributes, and the text outside of style and script."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.source = source
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self.inner: dict[str, str] = {}
        self._open = ""
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        self._open = tag

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open in ("style", "script"):
            self.inner[self._open] = self.inner.get(self._open, "") + data
        elif data.strip():
            self.texts.append(data.strip())

    @property
    def text(self) -> str:
        return " ".join(self.texts)

    def classes(self, name: str) -> list[dict[str, str]]:
        return [attributes for _, attributes in self.tags if name in attributes.get("class", "").split()]


@pytest.fixture
def build(tmp_path: Path, metrics: dict[str, Any]) -> Callable[..., Page]:
    """Write a report and read it back."""

    def write(rows: Sequence[ProbeResult], title: str = "Report", **options: Any) -> Page:
        path = tmp_path / "report.html"
        write_report(path, options.pop("metrics", metrics), rows, title=title, **options)
        return Page(path.read_text(encoding="utf-8"))

    return write


def test_every_text_is_escaped(build: Callable[..., Page], make_row: MakeRow, metrics: dict[str, Any]) -> None:
    texts = [
        "method", "mode", "case_id", "group", "prompt", "expected", "before", "after", "after_unrouted", "image",
        "route", "edit_id", "sites",
    ]  # fmt: skip
    judged = {"relevance": 0.5, "threshold": 0.9}
    rows = [make_row(**{name: EVIL for name in texts}, score=score, **judged) for score in (0.0, 1.0)]
    rows.append(make_row(method=EVIL, **judged))
    summary = metrics["methods"].pop("ldke")["single"]
    summary["protocol"]["generate"][EVIL] = summary["protocol"]["generate"]["all"]
    edit = {"case_id": EVIL, "group": EVIL, "chosen": [EVIL], "scores": [0.5]}
    sites = {"localizer": EVIL, "score": EVIL, "sites": [EVIL], "edits": [edit]}
    evil = {
        **metrics,
        "localization": sites,
        "model": EVIL,
        "commit": EVIL,
        "seeds": [EVIL],
        "methods": {EVIL: {"single": summary}},
    }
    page = build(rows, title=EVIL, metrics=evil)
    counts = Counter(tag for tag, _ in page.tags)
    assert (counts["script"], counts["style"], counts["title"], counts["img"]) == (1, 1, 1, 0)
    assert set(counts) <= TAGS
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert page.texts.count(EVIL) >= 10
    assert "alert(" not in page.inner["script"] + page.inner["style"]


@pytest.mark.parametrize(
    "image", ["javascript:alert(1)", "https://example.org/a.png", "a'b\"c.png", "//example.org/a.png", "\udcff.png"]
)
def test_a_picture_path_is_never_a_link(build: Callable[..., Page], make_row: MakeRow, image: str) -> None:
    page = build([make_row(image=image)])
    fields = [(name, value) for _, attributes in page.tags for name, value in attributes.items() if image in value]
    assert [name for name, _ in fields] in (["title", "title"], [])
    assert image not in page.inner["style"]
    assert page.text.count("no picture") == 2


def test_the_page_is_self_contained(build: Callable[..., Page], make_row: MakeRow, tmp_path: Path) -> None:
    Image.new("RGB", (20, 20), "red").save(tmp_path / "a.png")
    page = build([make_row(image=str(tmp_path / "a.png"), prompt="see http://example.org ?", score=0.0)])
    assert {tag for tag, _ in page.tags} <= TAGS
    fetching = [attributes for tag, attributes in page.tags if tag != "a" and FETCHING & attributes.keys()]
    assert not fetching
    assert all(attributes["href"].startswith("#") for tag, attributes in page.tags if tag == "a")
    style, script = page.inner["style"], page.inner["script"]
    addresses = re.findall(r"url\(([^)]*)\)", style)
    assert len(addresses) == 1
    assert addresses[0].startswith("data:image/png;base64,")
    assert "@import" not in style
    assert not re.search(r"https?:|//|fetch|XMLHttp|import\(|innerHTML", script)
    policy = next(attributes["content"] for tag, attributes in page.tags if "http-equiv" in attributes)
    assert policy.startswith("default-src 'none'")


def test_each_picture_is_embedded_once(build: Callable[..., Page], make_row: MakeRow, tmp_path: Path) -> None:
    Image.new("RGB", (20, 20), "red").save(tmp_path / "a.png")
    Image.new("RGB", (20, 20), "blue").save(tmp_path / "b.png")
    rows = [
        make_row(case_id=f"c{case}", kind=kind, image=str(tmp_path / name))
        for case in range(4)
        for kind, name in (("reliability", "a.png"), ("image_generality", "b.png"))
    ]
    page = build(rows)
    assert page.source.count("data:image/png") == 2
    assert len(page.classes("p0")) == 8
    assert len(page.classes("p1")) == 4


def test_failures_come_first(build: Callable[..., Page], make_row: MakeRow) -> None:
    rows = [
        make_row(case_id="good", prompt="Q-good"),
        make_row(case_id="leak", prompt="Q-leak-edit"),
        make_row(case_id="leak", kind="text_locality", prompt="Q-leak", relevant=False, route="e0"),
        make_row(case_id="wrong", prompt="Q-wrong-edit"),
        make_row(case_id="wrong", kind="text_generality", prompt="Q-wrong-passed"),
        make_row(case_id="wrong", kind="portability_1", prompt="Q-wrong-1", score=0.0),
        make_row(case_id="wrong", kind="portability_2", prompt="Q-wrong-2", score=0.0),
    ]
    page = build(rows)
    cards = ("Q-wrong-edit", "Q-wrong-1", "Q-wrong-2", "Q-wrong-passed", "Q-leak-edit", "Q-leak", "Q-good")
    places = [page.texts.index(text) for text in cards]
    assert places == sorted(places)
    headings = [page.texts.index(text) for text in ("Failures", "A sample of the other edits")]
    assert headings[0] < places[0] < places[5] < headings[1] < places[6]
    assert "2 of 3 edits have a probe with a wrong answer or a wrong route." in page.text
    assert len(page.classes("card")) == 3
    assert len([row for row in page.classes("bad") if "data-kind" in row]) == 3


def test_limits(build: Callable[..., Page], make_row: MakeRow) -> None:
    rows = [make_row(case_id=f"c{case}", score=float(case >= 10)) for case in range(30)]
    page = build(rows, failures=4, sample=3)
    assert len(page.classes("card")) == 7
    assert "10 of 30 edits" in page.text
    assert "the 4 shown" in page.text and "results.csv has the other 6" in page.text
    assert "3 of the 26 edits not shown above" in page.text


def test_a_card_tells_the_whole_story(build: Callable[..., Page], make_row: MakeRow) -> None:
    row = make_row(
        prompt="Who is this?", expected="Ada", before="Bob", after="Cyd", after_unrouted="Dan", score=0.0,
        route="e9", sites="connector+decoder.0", case_id="c7", group="entity", relevance=0.93, threshold=0.85,
    )  # fmt: skip
    text = build([row]).text
    cells = "text only reliability Who is this? Ada Bob Cyd Dan e9 wrong answer; misrouted: went to another edit 0.00"
    assert cells in text
    for needed in (
        "relevance 0.93",
        "Who is this? → Ada",
        "at connector+decoder.0",
        "entity",
        "case c7",
        "1 of 1 failed",
    ):
        assert needed in text


def test_every_kind_is_in_the_table_and_in_the_filter(
    build: Callable[..., Page], make_row: MakeRow, metrics: dict[str, Any]
) -> None:
    full = {kind.value: {"value": n / 16, "n": 4, "lo": n / 32, "hi": 1.0} for n, kind in enumerate(ProbeKind)}
    metrics["methods"]["ldke"]["single"]["protocol"]["generate"]["all"] = full
    page = build([make_row(kind=kind.value) for kind in ProbeKind])
    for entry in full.values():
        at = page.texts.index(f"{100 * entry['value']:.1f}")
        assert any(text == f"{100 * entry['lo']:.1f}\N{EN DASH}100.0" for text in page.texts[at:])
    options = [attributes["value"] for tag, attributes in page.tags if tag == "option"]
    assert options == ["", *(kind.value for kind in ProbeKind)]
    headings = page.texts[page.texts.index("method") :]
    assert headings[1 : 1 + len(ProbeKind)] == [kind.value.replace("_", " ") for kind in ProbeKind]


def test_floor_intervals_router_and_costs(build: Callable[..., Page]) -> None:
    text = build([]).text
    assert text.index("no_edit (floor)") < text.index("ceiling") < text.index("ldke") < text.index("unrouted 99.0")
    for needed in ("97.5\N{EN DASH}98.9", "single, 300 keys", "held-out relations", "0.0213 s", "18.0 KiB", "58-60"):
        assert needed in text
    for needed in ("Model tiny", "Data atlas", "Edits 60", "Seeds 0, 1", "Commit 0a1b2c3"):
        assert needed in text


def test_sites_and_what_the_router_found_are_drawn(
    build: Callable[..., Page], make_row: MakeRow, metrics: dict[str, Any]
) -> None:
    edits = [{"case_id": f"c{n}", "group": "entity", "chosen": ["a"], "scores": [0.25, 0.5]} for n in range(3)]
    sites = {"localizer": "fixed", "score": "cosine", "sites": ["a", "b"], "edits": edits}
    rows = [make_row(relevance=value, threshold=0.85) for value in (0.9, 0.8)]
    page = build(rows, metrics={**metrics, "localization": sites})
    for needed in (
        "3 edits of 60, from all over the data", "cosine by site, and the choice of fixed", "a 0.250 0 3 b 0.500 3 0",
        "ldke · single · threshold 0.85", "1 of 2 relevant queries reach it", "0 of 0 irrelevant queries reach it",
    ):  # fmt: skip
        assert needed in page.text
    paths = [attributes for tag, attributes in page.tags if tag == "path"]
    assert [path["class"] for path in paths] == ["s0", "mark", "s4", "relevant", "irrelevant", "axis", "threshold"]


def test_no_rows_and_no_figures(build: Callable[..., Page], metrics: dict[str, Any]) -> None:
    page = build([], metrics={**metrics, "methods": {}})
    assert "This run has no scored probes." in page.text
    assert "This run made no edits." in page.text
    assert page.classes("card") == []


def test_nothing_failed(build: Callable[..., Page], make_row: MakeRow) -> None:
    assert "None: every probe of 1 edits was answered and routed right." in build([make_row()]).text


def test_filters_are_labelled_and_offer_only_a_choice(build: Callable[..., Page], make_row: MakeRow) -> None:
    page = build([make_row(mode=mode) for mode in ("joint", "single")])
    selects = [attributes["name"] for tag, attributes in page.tags if tag == "select"]
    assert selects == ["mode"]
    assert [attributes["value"] for tag, attributes in page.tags if tag == "option"] == ["", "single", "joint"]
    controls = [index for index, (tag, _) in enumerate(page.tags) if tag in ("select", "input")]
    assert all(page.tags[index - 1][0] == "label" for index in controls)


def test_teacher_forced_rows_show_scores(build: Callable[..., Page], make_row: MakeRow) -> None:
    row = make_row(protocol="masked", before="", after="", after_unrouted="", score=0.5, score_unrouted=0.75)
    assert "score 0.50 score 0.75 this edit score 0.50" in build([row]).text


def test_a_text_without_end_is_cut(build: Callable[..., Page], make_row: MakeRow) -> None:
    page = build([make_row(after="z" * 5000, score=0.0)])
    assert 200 < page.source.count("z" * 10) * 10 < 400


def test_300_edits_stay_below_five_megabytes(make_row: MakeRow, tmp_path: Path, metrics: dict[str, Any]) -> None:
    rng = random.Random(0)
    for number in range(280):  # noise is the worst case for PNG, and 280 are more than the budget holds
        Image.frombytes("RGB", (80, 80), rng.randbytes(19200)).save(tmp_path / f"{number}.png")
    question = "What is the name of the town in which the leader of the country in this picture was born?"
    rows = [
        make_row(
            case_id=f"case-{case:05d}", kind=kind.value, prompt=question, expected="Saint Everard on the Water",
            before="Saint Oswin on the Hill", after="Saint Oswin on the Hill", group="entity",
            image=str(tmp_path / f"{(case + index) % 280}.png"), score=float(index % 3 == 0),
        )
        for case in range(300)
        for index, kind in enumerate(ProbeKind)
    ]  # fmt: skip
    write_report(tmp_path / "report.html", metrics, rows, title="Report", sample=100)
    source = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert source.count(question) == 300 * (1 + len(ProbeKind))
    assert 100 < source.count("data:image/png") < 280
    assert 3_000_000 < len(source.encode()) < 5_000_000
