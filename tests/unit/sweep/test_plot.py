"""The plot of a sweep: what is drawn where."""

from pathlib import Path

from ldke_pl.sweep.plot import _places, _series, plot_sweep

FIGURES = {
    "ldke/average": 0.8, "ldke/single/all/portability_1": 0.6, "ldke/joint/all/portability_1": 0.4,
    "ldke/single/all/text_locality": 1.0, "ldke/single/entity/text_locality": 0.0,
    "no_edit/single/all/portability_1": 0.1,
}  # fmt: skip


def test_a_series_is_the_mean_of_the_methods_own_figures() -> None:
    series = _series([({}, FIGURES), ({}, dict.fromkeys(FIGURES, 0.5))], "ldke/average")
    assert series == {"ldke/average": [0.8, 0.5], "portability_1": [0.5, 0.5], "locality": [1.0, 0.5]}
    assert _series([({}, {"ft_l/average": 0.3})], "ft_l/average") == {"ft_l/average": [0.3]}


def test_values_that_are_no_numbers_stand_side_by_side() -> None:
    assert _places(["0.5", "1", "0.5"]) == ({"0.5": 0.5, "1": 1.0}, [])
    assert _places(["last", "connector", "last"]) == ({"last": 0.0, "connector": 1.0}, ["last", "connector"])


def test_a_plot_has_a_panel_per_setting(tmp_path: Path) -> None:
    runs = [({"tau": tau, "site": site}, FIGURES) for tau in ("0.5", "1.0") for site in ("last", "connector")]
    plot_sweep(tmp_path / "sweep.png", runs, ["tau", "site"], "ldke/average")
    assert (tmp_path / "sweep.png").read_bytes().startswith(b"\x89PNG")
