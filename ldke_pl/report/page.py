"""Tables that a command puts into a Markdown page, so that none is typed by hand."""

from pathlib import Path

from ldke_pl.errors import ConfigError

END = "<!-- end -->"


def put(tables: str, name: str, page: Path | None) -> None:
    """Print ``tables``, or put them into ``page`` between ``<!-- name -->`` and ``<!-- end -->``.

    Raises:
        ConfigError: the page has no such place, or cannot be read or written.
    """
    if page is None:
        print(tables)
        return
    mark = f"<!-- {name} -->"
    try:
        before, begun, rest = page.read_text(encoding="utf-8").partition(mark)
        _, ended, after = rest.partition(END)
        if not begun or not ended:
            raise ConfigError(f"{page} has no place for the tables.", f"mark it by {mark} and {END}")
        page.write_text(f"{before}{mark}\n{tables}\n{END}{after}", encoding="utf-8")
    except OSError as fault:
        raise ConfigError(f"{page} cannot be read or written: {fault}", "give a Markdown page that exists") from fault
