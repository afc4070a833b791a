"""The same numbers from other people's code, on cases where that code is right.

scikit-learn for AUROC and average precision, MLstatkit for DeLong, picai_eval for FROC.
What picai_eval gets wrong is left out here and shown in docs/measuring.md.
"""

import numpy as np
import pytest
from MLstatkit import Delong_test
from picai_eval import Metrics, evaluate
from sklearn import metrics

from aals_jax.metrics import delong, froc, matching, roc
from tests.support import brute_force
from tests.support.brute_force import PARAMETERS
from tests.support.simulations import simulated


@brute_force.cases(100)
def test_scikit_learn_agrees(rng):
    scores, labels, weights = brute_force.random_scores(rng)
    if not 0 < labels.sum() < len(labels):
        return  # it has no value there, or a warning
    for weight in (None, weights[1] + 1):
        assert roc.auroc(scores, labels, weights=weight) == pytest.approx(
            metrics.roc_auc_score(labels, scores, sample_weight=weight), abs=1e-12
        )
        assert roc.average_precision(scores, labels, weights=weight) == pytest.approx(
            metrics.average_precision_score(labels, scores, sample_weight=weight),
            abs=1e-12,
        )
    curve = roc.roc_curve(scores, labels)
    rate, sensitivity, threshold = metrics.roc_curve(
        labels, scores, drop_intermediate=False
    )
    np.testing.assert_array_equal(curve.false_positive_rate, rate)
    np.testing.assert_array_equal(curve.sensitivity, sensitivity)
    np.testing.assert_array_equal(curve.threshold, threshold)


@pytest.mark.parametrize("levels", [None, 2])
def test_mlstatkit_agrees_on_delong(levels):
    """Its intervals are normal on the plain scale; its z is that of b minus a."""
    for seed in range(50):
        a, labels = simulated(80, seed, levels=levels)
        b = np.round(a + np.random.default_rng(seed).normal(size=80), 1)
        z, p_value, (low, high), _, auroc_a, auroc_b, info = Delong_test(labels, a, b)
        assert info["method"] == "delong"
        paired = delong.auroc_difference(a, b, labels)
        assert paired.value == pytest.approx(auroc_a - auroc_b, abs=1e-12)
        assert paired.p_value == pytest.approx(p_value, rel=1e-9)
        error = (paired.high - paired.value) / 1.959963984540054
        assert -paired.value / error == pytest.approx(z, rel=1e-9)
        alone = delong.auroc_interval(a, labels)
        # Ours is normal on the logit scale, where the error is error / (A (1 - A)).
        logit = np.log(alone.high / (1 - alone.high)) - np.log(
            alone.value / (1 - alone.value)
        )
        half = logit * alone.value * (1 - alone.value)
        assert max(alone.value - half, 0.0) == pytest.approx(low, abs=1e-9)
        assert min(alone.value + half, 1.0) == pytest.approx(high, abs=1e-9)


@pytest.mark.parametrize("rule", PARAMETERS)
def test_picai_eval_agrees_on_the_curve(rule):
    """Where a lesion is missed; else it drops the lowest operating point."""

    @brute_force.cases(200)
    def check(rng):
        films = brute_force.random_films(rng, rule)
        found = matching.match_images(
            films.found, films.lesions, rule=rule, **PARAMETERS[rule]
        )
        missed = np.isneginf(found.lesion_score)
        if not missed.any():
            return
        data = froc.matched_data(found, len(films.lesions))
        score = np.where(missed, 0.0, found.lesion_score)  # its way to say "missed"
        theirs = Metrics(
            {
                i: [(1, s, 1.0) for s in score[found.lesion_image == i]]
                + [(0, s, 0.0) for s in found.false_score[found.false_image == i]]
                for i in range(len(films.lesions))
            }
        )
        limits = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
        np.testing.assert_allclose(
            froc.sensitivity_at(data, limits),
            [theirs.lesion_TPR_at_FPR(limit) for limit in limits],
            rtol=1e-6,  # it counts in f32
        )

    check()


def test_picai_eval_agrees_from_maps_to_the_curve():
    """Boxes drawn into maps, one to a cell: no two touch, none overlaps two others."""
    rng = np.random.default_rng(0)
    found, lesions, drawn, truth = [], [], [], []
    for _ in range(40):
        corner = np.indices((4, 4)).reshape(2, -1).T * 8.0
        low, high = (corner + rng.integers(*span, (16, 2)) for span in ((0, 3), (4, 7)))
        boxes = np.concatenate([low, high], axis=1)
        moved = boxes + rng.integers(0, 2, (16, 1)) * [0, 0, 0, 1]
        scores = np.round(rng.random(16) + 0.01, 2)
        pick, true = rng.random((2, 16)) < [[0.5], [0.3]]
        found.append(np.c_[moved, scores][pick])
        lesions.append(boxes[true])
        drawn.append(np.zeros((1, 33, 33), np.float32))
        truth.append(np.zeros((1, 33, 33), np.int32))
        for x0, y0, x1, y1, score in found[-1]:
            drawn[-1][0, int(y0) : int(y1), int(x0) : int(x1)] = score
        for x0, y0, x1, y1 in lesions[-1].astype(int):
            truth[-1][0, y0:y1, x0:x1] = 1
    data = froc.count_data(found, lesions, rule="iou", iou_threshold=0.7)
    assert np.isneginf(data.lesion_score).any()
    theirs = evaluate(drawn, truth, min_overlap=0.7, num_parallel_calls=1)
    limits = np.linspace(0, 10, 41)
    np.testing.assert_allclose(
        froc.sensitivity_at(data, limits),
        [theirs.lesion_TPR_at_FPR(limit) for limit in limits],
        rtol=1e-6,
    )
