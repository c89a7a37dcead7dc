"""The report: sentences, charts, tables, pictures, and the page made of them."""

import base64
import html
import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from report_files import CHOSEN, CLASSES, predictions_of, vocab_of
from sklearn.metrics import confusion_matrix

from thaw.report import charts, sections
from thaw.report.page import Page, render_page
from thaw.report.pictures import read_pictures
from thaw.report.sentence import kind_of, result_sentence
from thaw.report.svg import VARIABLES
from thaw.report.tables import MOST_ROWS, cell, confusion_table, flat, table_of

KINDS = ("label", "labels", "points", "ratings")


# Three in four are of class 0.
LABEL = pd.DataFrame({"target": [0, 0, 0, 1], "logits": [[1.0, 0.0]] * 4})
LABELS = pd.DataFrame(
    {"target": [np.array(t, np.float32) for t in ([1, 0], [0, 0], [1, 1], [1, 0])]}
)
POINTS = pd.DataFrame(
    {"target": [[10.0, 2.0], [20.0, 2.0], [30.0, 2.0]], "frame": [[0.0, 0.0, 40.0, 20.0]] * 3}
)
RATINGS = pd.DataFrame({"rating": [1.0, 3.0]})


@pytest.mark.parametrize(
    ("metrics", "predictions", "vocab", "sentence"),
    [
        (
            {"items": 4, "error_rate": 0.25, "error_rate_se": 0.2166},
            LABEL, ["a", "b"],
            "It gets 0.250 ± 0.217 of 4 held-out items wrong (error rate); "
            "by chance, the most frequent class as every answer would get 0.250 wrong.",
        ),
        (
            {"items": 1200, "mean_average_precision": 0.75, "f1_macro": 0.1},
            LABELS, ["a", "b"],
            "It finds the labels of 1,200 held-out items with a mean average precision of 0.750; "
            "by chance, each label's share as its probability for all would get 0.500.",
        ),
        (
            {"items": 3, "mean_pixels": 6.62, "median_pixels": 5.0, "p90_pixels": 15.19},
            POINTS, [],
            "On 3 held-out items its points lie 6.6 pixels off on average, half of them within "
            "5.0 and nine in ten within 15.2; by chance, the middle of their points as every "
            "answer would be 6.7 off.",
        ),
        (
            {"items": 2, "rmse": 0.5, "mse": 0.25, "mse_se": 0.01},
            RATINGS, {},
            "It predicts 2 held-out ratings with a root mean squared error of 0.500 (mean squared "
            "error 0.250 ± 0.010); by chance, the mean rating as every answer would get 1.000.",
        ),
    ],
    ids=KINDS,
)  # fmt: skip
def test_a_result_is_a_sentence(metrics, predictions, vocab, sentence) -> None:
    named = {f"valid/{name}": value for name, value in metrics.items()}
    assert result_sentence(named, predictions, vocab) == sentence


def test_the_accuracy_of_several_labels_stands_beside_chance() -> None:
    metrics = {"items": 4, "mean_average_precision": 0.75, "accuracy_multi": 0.875}
    said = result_sentence({f"valid/{k}": v for k, v in metrics.items()}, LABELS, ["a", "b"])
    # "a" of all but one of four, "b" of one.
    assert said.endswith(" 0.875 of all yes and no are right, by chance 0.750.")


def test_points_of_older_predictions_are_told_without_chance() -> None:
    metrics = {"valid/items": 3, "valid/mean_pixels": 6.62}
    said = result_sentence(metrics, POINTS.drop(columns="frame"), [])
    assert said == "On 3 held-out items its points lie 6.6 pixels off on average."


def test_the_kind_is_read_from_the_predictions() -> None:
    assert [kind_of(predictions_of(kind), vocab_of(kind)) for kind in KINDS] == list(KINDS)


def path_of(svg: str, name: str) -> list[tuple[float, float]]:
    """The points of the first path of a group."""
    group = svg[svg.index(f'id="{name}"') :]
    numbers = re.search(r'\sd="([^"]+)"', group)[1]
    pairs = re.findall(r"[ML] ([-\d.]+) ([-\d.]+)", numbers)
    return [(float(x), float(y)) for x, y in pairs]


def lr_curve() -> tuple[pd.DataFrame, dict[str, float | None]]:
    rates = np.geomspace(1e-6, 1, 13)
    curve = pd.DataFrame({"lr": rates, "loss": 1.0, "smoothed": np.linspace(2, 1, 13)})
    return curve, dict.fromkeys(("steepest", "valley", "minimum", "rise")) | {"chosen": CHOSEN}


def test_the_chosen_rate_is_marked_where_it_is() -> None:
    svg = charts.lr_chart(*lr_curve(), "lr")
    line = path_of(svg, "lr-smoothed")
    share = (math.log10(CHOSEN) + 6) / 6
    expected = line[0][0] + share * (line[-1][0] - line[0][0])
    assert [x for x, _ in path_of(svg, "lr-chosen")] == pytest.approx([expected] * 2, abs=0.01)
    assert "chosen 2.00e-03" in svg


def test_without_a_choice_nothing_is_marked() -> None:
    curve, suggestion = lr_curve()
    svg = charts.lr_chart(curve, suggestion | {"chosen": 3.4e-8}, "lr")
    assert path_of(svg, "lr-chosen")[0][0] == pytest.approx(
        path_of(svg, "lr-smoothed")[0][0], abs=0.01
    )
    assert "chosen 3.40e-08, beyond the tested rates" in svg
    svg = charts.lr_chart(curve, suggestion | {"chosen": None}, "lr")
    assert "lr-chosen" not in svg
    assert "none was chosen" in svg


def test_the_loss_is_shown_up_to_its_minimum() -> None:
    loss = pd.Series([1.9, 2.0, *np.linspace(2, 1, 20), 50.0, math.nan])
    low, high = charts.falling_part(loss)
    assert (low, high) == (pytest.approx(0.88), pytest.approx(2.3))
    assert charts.falling_part(pd.Series([math.nan])) is None
    assert charts.falling_part(pd.Series([1.0] * 5)) == (pytest.approx(0.88), pytest.approx(1.3))


def test_the_threshold_is_marked_where_it_is() -> None:
    curve = pd.DataFrame({"threshold": [0.0, 0.5, 1.0], "f1_macro": [0.0, 1.0, 0.0]})
    svg = charts.sweep_chart(curve, [0.25, 0.25], "t")
    line = path_of(svg, "t-line2d_1")
    assert "t-chosen-1" not in svg
    left, right = (min(x for x, _ in path_of(svg, f"t-{g}")) for g in ("xtick_1", "xtick_6"))
    assert path_of(svg, "t-chosen-0")[0][0] == pytest.approx(left + 0.25 * (right - left), abs=0.01)
    assert line


def test_fits_are_told_apart_in_the_losses() -> None:
    epochs = pd.DataFrame(
        {"fit": ["fit_frozen"] * 3 + ["fit_unfrozen"] * 2, "train_loss": 1.0, "valid_loss": 2.0}
    )
    svg = charts.epochs_chart(epochs, ["train_loss", "valid_loss"], "losses", "loss")
    texts = [html.unescape(text) for text in re.findall(r"<text[^>]*>([^<]+)<", svg)]
    assert {"frozen", "unfrozen", "train loss", "valid loss", "epoch"} <= set(texts)
    assert texts.count("train loss") == 1  # one entry in the legend for both fits
    assert "by epoch of fit_frozen and fit_unfrozen" in svg


def test_a_chart_takes_the_colours_of_the_page() -> None:
    svg = charts.lr_chart(*lr_curve(), "lr")
    assert not any(colour in svg for colour in VARIABLES)
    assert not re.search(r"#[0-9a-f]{6}\b", svg)
    style = (Path(sections.__file__).with_name("style.css")).read_text()
    assert {f"--{name}:" in style for name in re.findall(r"var\(--([\w-]+)\)", svg)} == {True}
    assert svg == charts.lr_chart(*lr_curve(), "lr")
    ids = re.findall(r'\bid="([^"]+)"', svg)
    assert len(ids) == len(set(ids))
    assert {name.partition("-")[0] for name in ids} == {"lr"}


def test_confusion_counts_as_scikit_learn_does() -> None:
    draw = np.random.default_rng(0)
    actual, predicted = draw.choice(CLASSES, 60), draw.choice(CLASSES[:2], 60)
    table = confusion_table(
        pd.DataFrame({"actual": actual, "predicted": predicted}), CLASSES, "confusion"
    )
    expected = confusion_matrix(actual, predicted, labels=CLASSES)
    shown = [[int(c.text.replace("·", "0")) for c in row[1:]] for row in table.rows]
    assert shown == expected.tolist()
    assert [row[0].text for row in table.rows] == CLASSES
    assert table.rows[1][2].is_right
    assert not table.rows[1][1].is_right
    assert table.rows[1][2].share == expected[1, 1] / expected[1].sum()
    assert table.rows[0][3].share is None  # nothing was taken for the third class


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), (math.nan, ""), (3.0, "3"), (0.123456, "0.1235"), (np.int64(7), "7"),
     (1234567, "1,234,567"), (True, "true"), ("a", "a"), (math.inf, "inf")],
)  # fmt: skip
def test_values_are_written_for_people(value: object, text: str) -> None:
    assert cell(value).text == text


def test_long_tables_are_cut_and_say_so() -> None:
    frame = pd.DataFrame({"number": range(50)})
    head = table_of(frame, "numbers", "all.csv")
    assert [row[0].text for row in head.rows] == [str(n) for n in range(MOST_ROWS)]
    assert head.note == "Shown are the first 40 of 50 rows; all are in all.csv."
    both = table_of(frame, "numbers", "all.csv", both_ends=True)
    assert [row[0].text for row in both.rows][19:21] == ["19", "30"]
    assert table_of(frame[:20], "numbers").note == ""


def test_parameters_are_flat_and_as_in_yaml() -> None:
    assert flat({"a": {"b": [1, 2]}, "c": {}}) == {"a.b": [1, 2], "c": {}}
    shown = sections.parameters(
        "r", {"seed": 1, "x": {"on": True, "gap": " ", "of": ["a"]}, "y": {}}
    )
    assert shown.settings == {
        "recipe": {"seed": "1"}, "x": {"on": "true", "gap": '" "', "of": '["a"]'}, "y": {},
    }  # fmt: skip


def test_the_splits_counts_stand_beside_each_other() -> None:
    table = sections.counts_table({"items": 5, "train/items": 3, "valid/items": 2, "classes": 2})
    assert table.columns == ["what", "all", "train", "valid"]
    assert [[c.text for c in row] for row in table.rows] == [
        ["items", "5", "3", "2"], ["classes", "2", "", ""],
    ]  # fmt: skip


def test_pictures_are_whole_in_order_and_within_bounds(tmp_path: Path) -> None:
    for name in ("zebra.png", "batch.jpg", "batch_before.jpg", "notes.txt"):
        (tmp_path / name).write_text("no picture") if name.endswith("txt") else Image.new(
            "RGB", (30, 20)
        ).save(tmp_path / name)
    files = sorted(tmp_path.iterdir())
    shown, left_out = read_pictures(files, most=10_000)
    assert left_out == []
    assert [p.caption.split()[0] for p in shown] == ["Items", "The", "zebra"]
    assert [p.uri.partition(";")[0] for p in shown] == ["data:image/jpeg"] * 2 + ["data:image/png"]
    assert (shown[0].width, shown[0].height) == (30, 20)
    content = base64.b64decode(shown[0].uri.partition(",")[2])
    assert content == (tmp_path / "batch_before.jpg").read_bytes()
    fewer, rest = read_pictures(files, most=len(content))
    assert [p.caption for p in fewer] == [shown[0].caption]
    assert rest == [tmp_path / "batch.jpg", tmp_path / "zebra.png"]


def test_sections_without_content_are_left_out() -> None:
    text = render_page(Page("r", "k", "s", {}, [sections.Section("empty", "Nothing")]))
    assert "Nothing" not in text
