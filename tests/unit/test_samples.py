"""The table of samples and the predictors fitted to it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from prune3d.errors import ConfigError, UserError
from prune3d.optimize.surrogate import Settings, chosen, fit_both, validate
from prune3d.predictor import LowRankPolynomialRegressor
from prune3d.predictor.design import RIVALS
from prune3d.sampling.metrics_file import METRICS
from prune3d.sampling.table import (
    HOLDOUT,
    SAMPLES,
    Samples,
    gather,
    read_holdout,
    read_samples,
    sample_row,
)

LEVELS = (0.8, 0.6, 0.45, 0.3)


def metrics(depth: float, width: float, resolution: float, top1: float) -> dict[str, object]:
    """Return metrics as a fine-tuning writes them."""
    return {
        "depth": depth,
        "width": width,
        "resolution": resolution,
        "macs": 1000,
        "macs_ratio": 0.5,
        "params": 77,
        "image_passes": 30,
        "cost_macs": 30000,
        "blocks": 3,
        "side_pixels": 8,
        "selection": {"top1": top1, "top5": 1.0, "loss": 0.1, "images": 10},
    }


def accuracy(ratios: np.ndarray) -> np.ndarray:
    """Return a product of one curve for each dimension: of rank one."""
    return np.prod(1 - 0.3 * (1 - ratios) ** 2, axis=1)


def made(count: int = 4) -> tuple[Samples, Samples]:
    """Return samples on the axes, and held-out ones off them."""
    fit = np.ones((1 + 3 * count, 3))
    for axis in range(3):
        fit[1 + axis * count : 1 + (axis + 1) * count, axis] = LEVELS[:count]
    held = np.array([[0.8, 0.6, 0.45], [0.5, 0.7, 0.9], [0.4, 0.4, 0.4]])
    fitted, left = (
        Samples(tuple(map(str, range(len(x)))), x, accuracy(x), np.ones(len(x)))
        for x in (fit, held)
    )
    return fitted, left


def grid() -> Samples:
    """Return samples on a whole grid, which determine a full polynomial of degree two."""
    levels = (1.0, 0.7, 0.4)
    ratios = np.array([(d, w, r) for d in levels for w in levels for r in levels])
    names = tuple(map(str, range(len(ratios))))
    return Samples(names, ratios, accuracy(ratios), np.ones(len(ratios)))


def test_samples_survive_their_table(tmp_path: Path) -> None:
    numbers = [(1.0, 1.0, 1.0, 0.9), (1 / 3, 0.8, 1.0, 0.1 + 0.2), (0.5, 0.5, 0.5, 2 / 3)]
    names = ("d100_w100_r100", "d33.3_w80_r100", "d50_w50_r50")
    pairs = zip(names, numbers, strict=True)
    rows = [sample_row(name, metrics(*values)) for name, values in pairs]
    SAMPLES.write(tmp_path / "samples.csv", rows)
    found = read_samples(tmp_path / "samples.csv")
    assert found.names == names
    assert found.ratios.tolist() == [list(values[:3]) for values in numbers]
    assert found.accuracy.tolist() == [0.9, 0.1 + 0.2, 2 / 3]
    assert found.cost_macs.tolist() == [30000, 30000, 30000]
    assert found.macs_ratio is not None
    assert found.macs_ratio.tolist() == [row["macs_ratio"] for row in rows]
    kept = found.without({names[1]})
    assert kept.macs_ratio is not None and len(kept.macs_ratio) == 2


def test_a_table_without_held_out_samples_has_none(tmp_path: Path) -> None:
    HOLDOUT.write(tmp_path / "holdout.csv", [])
    fitted = Samples(("d100_w100_r100",), np.ones((1, 3)), np.ones(1), np.ones(1))
    held = read_holdout(tmp_path / "holdout.csv", fitted)
    assert held.names == ()
    assert held.ratios.shape == (0, 3)


def test_a_row_has_every_column() -> None:
    row = sample_row("d50_w100_r100", metrics(0.5, 1, 1, 0.9))
    assert tuple(row) == SAMPLES.columns
    assert row["accuracy"] == 0.9
    assert None not in row.values()


def test_the_region_is_bounded_by_the_lowest_and_highest_ratios() -> None:
    ratios = np.array([[1, 1, 1], [0.25, 1, 1], [1, 0.31, 0.9], [0.5, 0.4, 0.5]])
    region = Samples(("",) * 4, ratios, np.ones(4), np.ones(4)).region()
    assert region.tolist() == [[0.25, 1], [0.31, 1], [0.5, 1]]


@pytest.mark.parametrize("kind", ["low_rank", "full"])
def test_the_chosen_predictor_survives_json(kind: str) -> None:
    fit, held = made()
    fit = grid() if kind == "full" else fit
    settings = Settings(kind, degree=2, rank=1, alpha=1e-9)
    fitted = json.loads(json.dumps(fit_both(fit, settings), allow_nan=False))
    again = chosen(fitted)
    x = held.ratios
    if kind == "low_rank":
        direct = LowRankPolynomialRegressor(degree=2, rank=1, alpha=1e-9)
        direct.fit(fit.ratios, fit.accuracy)
        np.testing.assert_allclose(again.predict(x), direct.predict(x), rtol=1e-12)
        # The labels are a polynomial of degree two and rank one.
        np.testing.assert_allclose(again.predict(x), accuracy(x), atol=1e-5)
    else:
        np.testing.assert_allclose(again.predict(fit.ratios), fit.accuracy, atol=1e-5)


def test_errors_are_those_of_predictions_for_samples_left_out() -> None:
    fit, held = made()
    noise = np.random.default_rng(0).normal(0, 0.02, 13)
    fit = Samples(fit.names, fit.ratios, fit.accuracy + noise, fit.cost_macs)
    settings = Settings("low_rank", degree=2, rank=1, alpha=1e-3)
    found = validate(fit, held, fit_both(fit, settings))
    assert (found["samples"], found["held_out"]) == (13, 3)

    def predict(x: np.ndarray, y: np.ndarray, at: np.ndarray) -> np.ndarray:
        return LowRankPolynomialRegressor(degree=2, rank=1, alpha=1e-3).fit(x, y).predict(at)

    x, y = fit.ratios, fit.accuracy
    off = predict(x, y, held.ratios) - held.accuracy
    errors = found["predictors"]["low_rank"]
    assert errors["coefficients"] == 9
    assert found["predictors"]["full"]["coefficients"] == 27
    assert errors["holdout"]["n"] == 3
    assert errors["holdout"]["mae"] == pytest.approx(np.mean(np.abs(off)))
    assert errors["holdout"]["rmse"] == pytest.approx(np.sqrt(np.mean(off**2)))
    one_out = [
        predict(np.delete(x, i, 0), np.delete(y, i), x[i : i + 1])[0] - y[i] for i in range(13)
    ]
    assert errors["leave_one_out"]["n"] == 13
    assert errors["leave_one_out"]["mae"] == pytest.approx(np.mean(np.abs(one_out)))


def test_without_held_out_samples_there_are_no_such_errors() -> None:
    fit = grid()
    nothing = Samples((), np.empty((0, 3)), np.empty(0), np.empty(0))
    found = validate(fit, nothing, fit_both(fit, Settings("full", 1, 1, 1e-3)))
    assert found["predictors"]["full"]["holdout"] is None
    assert found["held_out"] == 0


def test_only_predictors_whose_coefficients_the_samples_fix_are_determined() -> None:
    fit, held = made()
    found = validate(fit, held, fit_both(fit, Settings("low_rank", 3, 1, 1e-3)))["predictors"]
    assert {kind: errors["determined"] for kind, errors in found.items()} == {
        "low_rank": True,
        "full": False,
        # Of the rivals it is not known.
        **dict.fromkeys(RIVALS),
    }
    # By hand: on the axes the 4^3 products of powers take but 1 + 3 * 3 independent columns.
    powers = [[d**i * w**j * r**k for i, j, k in np.ndindex(4, 4, 4)] for d, w, r in fit.ratios]
    assert np.linalg.matrix_rank(np.array(powers)) == 10 < 64


def test_a_whole_grid_determines_the_full_polynomial_too() -> None:
    fit = grid()
    found = validate(fit, made()[1], fit_both(fit, Settings("full", 2, 1, 1e-3)))["predictors"]
    assert found["full"]["determined"] is True
    assert found["low_rank"]["determined"] is True


@pytest.mark.slow
def test_a_wreck_among_the_samples_is_named_and_judges_nobody() -> None:
    fit, held = made()
    # Samples on the axes do not determine a full polynomial, which is refused.
    kind = "low_rank"
    wreck = int(np.argmin(fit.ratios[:, 1]))
    spoilt = Samples(
        fit.names,
        fit.ratios,
        np.where(np.arange(13) == wreck, 0.05, fit.accuracy),
        fit.cost_macs,
    )
    settings = Settings(kind, 2, 1, 1e-2, loss="robust")
    fitted = json.loads(json.dumps(fit_both(spoilt, settings), allow_nan=False))
    assert fitted["left_out"] == [fit.names[wreck]]
    clean = fit.without(fitted["left_out"])
    assert len(clean.names) == 12
    assert clean.region()[1, 0] > fit.region()[1, 0]
    plain = fit_both(clean, Settings(kind, 2, 1, 1e-2))
    x = held.ratios
    np.testing.assert_array_equal(chosen(fitted).predict(x), chosen(plain).predict(x))
    found = validate(spoilt, held, fitted)
    assert (found["samples"], found["left_out"]) == (12, [fit.names[wreck]])
    assert found["predictors"][kind] == validate(clean, held, plain)["predictors"][kind]


@pytest.mark.parametrize("kind", ["low_rank", "full"])
def test_the_penalty_can_be_chosen_by_leaving_out_one_sample(kind: str) -> None:
    fit, held = made()
    fit = grid() if kind == "full" else fit
    fitted = json.loads(json.dumps(fit_both(fit, Settings(kind, 2, 1, "loo")), allow_nan=False))
    assert fitted["settings"]["alpha"] == "loo"
    # The labels are a polynomial of degree two without noise: the data want hardly any penalty.
    np.testing.assert_allclose(chosen(fitted).predict(fit.ratios), fit.accuracy, atol=1e-3)
    errors = validate(fit, held, fitted)["predictors"][kind]
    assert errors["leave_one_out"]["n"] == len(fit.names)
    assert np.isfinite(errors["leave_one_out"]["mae"])


def test_a_polynomial_that_the_samples_do_not_determine_is_not_fitted() -> None:
    fit, _ = made()
    with pytest.raises(ConfigError, match=r"sampling: the design .* determines 10 of the 64"):
        fit_both(fit, Settings("full", 3, 1, 1e-2))


def test_a_cubic_is_fitted_to_the_levels_that_a_small_network_has() -> None:
    """Levels that a user gives are counted before any job; see `check_sampling`."""
    few, _ = made(2)
    fitted = chosen(fit_both(few, Settings("low_rank", 3, 1, 1e-2)))
    low = few.ratios.min()
    between = np.random.default_rng(0).uniform(low, 1, (50, 3))
    np.testing.assert_allclose(fitted.predict(between), accuracy(between), atol=0.01)


def test_a_degree_to_be_chosen_may_be_more_than_a_dimension_of_two_levels_determines() -> None:
    every, _ = made()
    few = every.without(every.names[2:5])  # depths 1 and 0.8 are left
    orders = fit_both(few, Settings("low_rank", "cv", 1, 1e-2))["orders"]
    assert {order["degree"] for order in orders} == {1, 2, 3, 4}


def test_the_same_network_counts_once(tmp_path: Path) -> None:
    names = ["d100_w100_r100", "d70_w100_r100", "d40_w100_r100", "d100_w50_r100"]
    ratios = [(1.0, 1.0, 1.0), (0.75, 1.0, 1.0), (0.75, 1.0, 1.0), (1.0, 0.5, 1.0)]
    files = []
    for name, point, top1 in zip(names, ratios, (0.9, 0.8, 0.85, 0.7), strict=True):
        files.append(str(tmp_path / f"{name}.json"))
        METRICS.write(files[-1], metrics(*point, top1))
    rows = gather(names, files)
    assert [(row["point"], row["accuracy"]) for row in rows] == [
        ("d100_w100_r100", 0.9),
        ("d70_w100_r100", 0.8),
        ("d100_w50_r100", 0.7),
    ]


def test_a_held_out_network_that_is_fitted_tells_nothing(tmp_path: Path) -> None:
    fitted, held = tmp_path / "samples.csv", tmp_path / "holdout.csv"
    points = {"d100_w100_r100": (1, 1, 1), "d60_w100_r100": (2 / 3, 1, 1)}
    SAMPLES.write(fitted, [sample_row(name, metrics(*p, 0.9)) for name, p in points.items()])
    points = {"d70_w100_r100": (2 / 3, 1, 1), "d60_w80_r100": (2 / 3, 0.8, 1)}
    HOLDOUT.write(held, [sample_row(name, metrics(*p, 0.8)) for name, p in points.items()])
    assert read_holdout(held, read_samples(fitted)).names == ("d60_w80_r100",)


def test_the_table_must_begin_with_the_dense_network(tmp_path: Path) -> None:
    path = tmp_path / "samples.csv"
    names = ("d50_w100_r100", "d100_w100_r100")
    rows = [sample_row(name, metrics(0.5, 1, 1, 0.9)) for name in names]
    for wrong in (rows, rows[::-1], rows[:1] * 2):
        SAMPLES.write(path, wrong)
        with pytest.raises(UserError, match=r"samples\.csv"):
            read_samples(path)
