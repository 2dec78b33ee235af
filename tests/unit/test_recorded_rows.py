"""The choice on recorded rows: what docs/predictor.md says of them."""

from __future__ import annotations

import numpy as np
import pytest

import recorded
from prune3d.predictor import bend_test


def test_the_rows_are_read_whole() -> None:
    cases = recorded.cases()
    assert len(cases) == 8
    assert [len(case.finals.y) for case in cases[:2]] == [14, 16]
    # The sample of width 0.3 is missing after 8 epochs with seed 1.
    assert [len(recorded.samples(e, s).y) for e in (8, 3) for s in (0, 1)] == [13, 12, 13, 13]
    assert recorded.samples(3, 1).X[0].tolist() == [1, 1, 1]
    single = [
        recorded.finals(0, 0.25).X[i].tolist() for i in recorded.singles(recorded.finals(0, 0.25))
    ]
    assert single == [[1, 0.4984, 1], [1, 0.9994, 0.5], [0.3333, 0.8619, 1]]


def test_wrecks_among_the_samples_are_found_and_no_others() -> None:
    left_out = {}
    for epochs in recorded.EPOCHS:
        for seed in recorded.SEEDS:
            of = recorded.samples(epochs, seed)
            case = recorded.Case(epochs, seed, 0.25, of, recorded.finals(seed, 0.25))
            used = recorded.fitted(case)[0].inliers_
            left_out[epochs, seed] = of.X[~used].tolist()
    wreck = [[1, 0.3, 1]]
    assert left_out == {(8, 0): [], (8, 1): [], (3, 0): wreck, (3, 1): wreck}


@pytest.mark.slow
def test_candidates_that_are_tried_lead_to_a_network_within_the_goals() -> None:
    for case in recorded.cases():
        assert len(recorded.candidates(case)) <= 8
        assert recorded.regret(case.finals, recorded.tried(case)) <= {8: 0.3, 3: 0.5}[case.epochs]


@pytest.mark.slow
def test_intervals_for_finals_hold_nine_in_ten() -> None:
    for budgets in ((), (0.25,), (0.125,), recorded.BUDGETS):
        held, _, _ = recorded.coverage(budgets)
        assert held >= 0.895


def test_joint_pruning_can_win_on_the_recorded_network() -> None:
    for seed in recorded.SEEDS:
        parts = [recorded.finals(seed, budget) for budget in recorded.BUDGETS]
        dense = recorded.labels(kind="control", seed=seed, epochs=8, round_=1)
        X = np.vstack([dense.X, *(part.X for part in parts)])
        found = bend_test(X, np.concatenate([dense.y, *(part.y for part in parts)]))
        assert (found["joint"], found["cross_terms"]) == ("yes", "measured")
