"""Pages of the repository that lie outside ``docs/`` become pages of the site, and links to them keep working.

Links are written as they work in a checkout: ``docs/method.md`` says ``../experiments/README.md``. In the site the
files of ``docs/`` lie at the top and everything else below its own folder. A link to a file that is no part of the
site becomes plain text; one to a file that does not exist stays, so that the strict build names it. In a table, a bar
within code is escaped for readers of the repository; the site would show the backslash.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("data/README.md", "CONTRIBUTING.md", "CHANGELOG.md", "data/atlas/model/card.json")
FOLDERS = ("experiments",)
SUFFIXES = (".md", ".json", ".csv")
LEFT_OUT = "experiments/runs/"
CODE = re.compile(r"`[^`\n]+`")
LINK = re.compile(r"\[(?P<text>(?:[^\[\]]|\[[^\[\]]*\])*)\]\((?P<target>[^()\s#]+)(?P<anchor>#[^()\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what the pages of ``docs/`` link to."""
    found = [ROOT / name for name in PAGES]
    found += [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*")) if path.suffix in SUFFIXES]
    for path in found:
        place = path.relative_to(ROOT).as_posix()
        if not place.startswith(LEFT_OUT):
            files.append(File.generated(config, place, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Rewrite links from where files lie in the repository to where they lie in the site."""
    path = page.file.abs_src_path
    here = Path(path).relative_to(ROOT).as_posix() if path else page.file.src_uri

    def rewritten(link: re.Match[str]) -> str:
        if "://" in link["target"]:
            return link[0]
        target = posixpath.normpath(posixpath.join(posixpath.dirname(here), link["target"]))
        place = target.removeprefix("docs/")
        if files.get_file_from_path(place) is None:
            return link["text"] if (ROOT / target).exists() else link[0]
        return f"[{link['text']}]({_relative(place, page.file.src_uri)}{link['anchor'] or ''})"

    return LINK.sub(rewritten, CODE.sub(lambda code: code[0].replace(r"\|", "|"), markdown))


def _relative(place: str, page: str) -> str:
    return posixpath.relpath(place, posixpath.dirname(page) or ".")
