"""The table of metrics: labels, directions, and which way is better."""

from __future__ import annotations

import pytest

from cyclegan.registry.metrics import describe, headline, in_words, scores


@pytest.mark.parametrize(
    ("name", "label", "where", "higher", "kind"),
    [
        ("score", "Score", "", False, "score"),
        ("fid_AtoB", "FID", "horse → zebra", False, "score"),
        ("kid_BtoA_se", "KID, standard error", "zebra → horse", None, "error"),
        ("frechet_inception768_BtoA", "Fréchet distance (inception768)", "zebra → horse", False, "score"),
        ("frechet_random_input", "Fréchet distance (random) of the untranslated input", "", None, "baseline"),
        ("l1_AtoB_mean", "L1 to the truth of the mean colour", "horse → zebra", None, "baseline"),
        ("precision_random_AtoB", "Precision (random)", "horse → zebra", True, "score"),
        ("cycle_l1_B", "Cycle error", "zebra → horse → zebra", False, "score"),
        ("identity_l1_A", "Identity error", "horse → horse", False, "score"),
        ("psnr_AtoB", "PSNR", "horse → zebra", True, "score"),
        ("nearest_train_AtoB", "Distance to training images", "horse → zebra", None, "score"),
    ],
)
def test_what_a_name_means(name, label, where, higher, kind):
    metric = describe(name, {"A": "horse", "B": "zebra"})
    assert metric is not None
    assert (metric.label, metric.where) == (label, where)
    assert (metric.higher_is_better, metric.kind) == (higher, kind)


@pytest.mark.parametrize("name", ["loss/G", "lr", "system/cpu", "images_per_second", "fid_CtoD", "l1_AtoB_x"])
def test_what_is_no_score(name):
    assert describe(name) is None


def test_order_and_headline():
    values = dict.fromkeys(
        ["psnr_AtoB", "cycle_l1_A", "fid_BtoA", "lr", "fid", "fid_AtoB", "fid_input", "score", "kid_AtoB"],
        1.0,
    )
    names = [metric.name for metric in scores(values)]
    assert names == ["score", "fid", "fid_AtoB", "fid_BtoA", "kid_AtoB", "psnr_AtoB", "cycle_l1_A"]
    assert list(headline(values)) == ["score", "fid_AtoB", "fid_BtoA", "kid_AtoB"]


def test_a_sentence_for_people_has_no_raw_names():
    said = "frechet_random 0.03 is better than the champion's 0.1 by score, of images_per_second"
    assert in_words(said) == said.replace("frechet_random", "Fréchet distance (random)")
    assert in_words("fid 12 against frechet_inception768") == "fid 12 against Fréchet distance (inception768)"
