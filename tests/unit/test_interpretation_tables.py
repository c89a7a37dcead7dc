"""Tables of answers: by hand and by scikit-learn."""

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from thaw.evaluation import sigmoid, softmax
from thaw.interpretation import one_label, points, several_labels
from thaw.interpretation.confusion import confusion_counts, counts_of_each, most_confused
from thaw.interpretation.one_label import OneLabel
from thaw.interpretation.order import by_class, drawn, highest
from thaw.interpretation.points import Points
from thaw.interpretation.several_labels import SeveralLabels
from thaw.params.interpret import Interpret
from thaw.sheets.sheet import Tile

VOCAB = ["ant", "bee", "cat"]
PLAN = Interpret()


def logits_of(probabilities: list[list[float]]) -> np.ndarray:
    return np.log(np.array(probabilities)).astype(np.float32)


@pytest.fixture
def one() -> OneLabel:
    """Six items: a right, a as b, b as a, b right, c as a, c right but unsure."""
    probabilities = [
        [0.8, 0.1, 0.1], [0.25, 0.5, 0.25], [0.9, 0.05, 0.05],
        [0.01, 0.98, 0.01], [0.6, 0.2, 0.2], [0.3, 0.3, 0.4],
    ]  # fmt: skip
    table = pd.DataFrame(
        {
            "path": [f"{n}.jpg" for n in range(6)],
            "target": np.array([0, 0, 1, 1, 2, 2]),
            "logits": list(logits_of(probabilities)),
        }
    )
    return OneLabel.read(table, VOCAB)


def test_confusion_has_all_cells_in_vocabulary_order(one: OneLabel) -> None:
    table = one_label.tables(one, PLAN)["confusion"]
    assert table["actual"].tolist() == ["ant"] * 3 + ["bee"] * 3 + ["cat"] * 3
    assert table["predicted"].tolist() == VOCAB * 3
    assert table["count"].tolist() == [1, 1, 0, 1, 1, 0, 1, 0, 1]


def test_most_confused_lists_ties_in_vocabulary_order() -> None:
    counts = np.array([[9, 2, 3], [1, 9, 2], [5, 3, 9]])
    table = most_confused(counts, VOCAB, at_least=2)
    assert table.to_numpy().tolist() == [
        ["cat", "ant", 5], ["ant", "cat", 3], ["cat", "bee", 3], ["ant", "bee", 2],
        ["bee", "cat", 2],
    ]  # fmt: skip
    assert most_confused(counts, VOCAB, at_least=6).empty
    assert list(most_confused(counts, VOCAB, at_least=6)) == ["actual", "predicted", "count"]


def test_a_class_without_items_has_its_row_and_column() -> None:
    counts = confusion_counts(np.array([0, 0]), np.array([0, 2]), 3)
    assert counts.tolist() == [[1, 0, 0], [0, 0, 0], [1, 0, 0]]


def test_top_losses_of_one_label_by_hand(one: OneLabel) -> None:
    table = one_label.top_losses(one, 4)
    assert list(table) == [
        "path", "actual", "predicted", "loss", "probability_actual", "probability_predicted",
    ]  # fmt: skip
    assert table["path"].tolist() == ["2.jpg", "4.jpg", "1.jpg", "5.jpg"]
    assert table["actual"].tolist() == ["bee", "cat", "ant", "cat"]
    assert table["predicted"].tolist() == ["ant", "ant", "bee", "cat"]
    assert table["probability_actual"].tolist() == pytest.approx([0.05, 0.2, 0.25, 0.4], abs=1e-6)
    assert table["probability_predicted"].tolist() == pytest.approx([0.9, 0.6, 0.5, 0.4], abs=1e-6)
    assert table["loss"].tolist() == pytest.approx(-np.log([0.05, 0.2, 0.25, 0.4]), abs=1e-6)


def test_losses_survive_probabilities_of_nought() -> None:
    table = pd.DataFrame(
        {"path": ["a"], "target": [1], "logits": [np.array([2000, 0, 0], np.float32)]}
    )
    assert OneLabel.read(table, VOCAB).losses.tolist() == [2000.0]


def test_per_class_is_scikit_learns() -> None:
    random = np.random.default_rng(5)
    targets, logits = random.integers(0, 3, 200), random.normal(size=(200, 3)).astype(np.float32)
    items = OneLabel([f"{n}" for n in range(200)], targets, logits, VOCAB)
    table = one_label.tables(items, PLAN)["per_class"]
    expected = sk.precision_recall_fscore_support(targets, logits.argmax(1))
    for name, values in zip(("precision", "recall", "f1", "items"), expected, strict=True):
        np.testing.assert_allclose(table[name], values)
    for number, found in enumerate(table["average_precision"]):
        of_class = sk.average_precision_score(targets == number, softmax(logits)[:, number])
        assert found == pytest.approx(of_class)


def test_what_sheets_of_one_label_show(one: OneLabel) -> None:
    shown = {
        name: [tile.row for tile in sheet.tiles]
        for name, sheet in one_label.sheets(one, Interpret(pictures=3), seed=1).items()
    }
    assert shown["top_losses"] == [2, 4, 1]
    assert shown["most_uncertain"] == [5, 1, 4]
    assert sorted(shown["random_right"]) == [0, 3, 5]
    assert sorted(shown["random_wrong"]) == [1, 2, 4]
    sheets = one_label.sheets(one, Interpret(per_class=1), seed=1)
    blocks = {
        name: {block.heading: [tile.row for tile in block.tiles] for block in sheets[name].blocks}
        for name in ("most_correct", "most_incorrect")
    }
    assert blocks["most_correct"] == {"ant": [0], "bee": [3], "cat": [5]}
    assert blocks["most_incorrect"] == {"ant": [1], "bee": [2], "cat": [4]}
    assert [block.note for block in sheets["most_correct"].blocks] == ["1 of 2 right"] * 3


@pytest.fixture
def several() -> SeveralLabels:
    """Four items; the second class has a threshold of its own."""
    probabilities = np.array([[0.9, 0.6, 0.1], [0.2, 0.75, 0.4], [0.6, 0.1, 0.3], [0.1, 0.2, 0.05]])
    targets = [[1, 1, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]]
    table = pd.DataFrame(
        {
            "path": [f"{n}.jpg" for n in range(4)],
            "target": [np.array(t, np.float32) for t in targets],
            "logits": list(np.log(probabilities / (1 - probabilities)).astype(np.float32)),
        }
    )
    return SeveralLabels.read(table, VOCAB, {"cat": 0.5, "bee": 0.7, "ant": 0.5})


def test_tables_of_several_labels_by_hand(several: SeveralLabels) -> None:
    # given: ant / bee / ant / none
    found = several_labels.tables(several, PLAN)
    assert found["confusion"].to_numpy().tolist() == [
        ["ant", 2, 1, 0, 1], ["bee", 2, 0, 1, 1], ["cat", 3, 0, 1, 0],
    ]  # fmt: skip
    assert list(found["confusion"])[1:] == [
        "true_negatives", "false_positives", "false_negatives", "true_positives",
    ]  # fmt: skip
    assert found["per_class"]["precision"].tolist() == [0.5, 1.0, 0.0]
    assert found["per_class"]["recall"].tolist() == [1.0, 0.5, 0.0]
    assert found["per_class"]["average_precision"].tolist() == pytest.approx([1.0, 1.0, 0.5])
    worst = found["top_losses"]
    assert worst["path"].tolist() == ["2.jpg", "1.jpg", "0.jpg", "3.jpg"]
    assert worst["actual"].tolist() == ["cat", "bee", "ant bee", ""]
    assert worst["predicted"].tolist() == ["ant", "bee", "ant", ""]
    assert worst["worst_class"].tolist() == ["cat", "cat", "bee", "bee"]
    assert worst["probability"].tolist() == pytest.approx([0.3, 0.4, 0.6, 0.2], abs=1e-6)
    by_hand = -(np.log(0.4) + np.log(0.9) + np.log(0.3)) / 3
    assert worst["loss"][0] == pytest.approx(by_hand, abs=1e-6)


def test_cells_of_several_labels_are_scikit_learns() -> None:
    random = np.random.default_rng(6)
    there, logits = random.random((100, 3)) < 0.4, random.normal(size=(100, 3))
    items = SeveralLabels(["x"] * 100, there, logits, VOCAB, np.array([0.3, 0.5, 0.6]))
    given = sigmoid(logits) > np.array([0.3, 0.5, 0.6])
    table = several_labels.tables(items, PLAN)["confusion"]
    for number, row in enumerate(table.drop(columns="class").to_numpy()):
        assert (
            row.tolist() == sk.confusion_matrix(there[:, number], given[:, number]).ravel().tolist()
        )
    losses = [sk.log_loss(t, p, labels=[0, 1]) for t, p in zip(there, sigmoid(logits), strict=True)]
    np.testing.assert_allclose(items.losses, losses)


def test_a_single_class_has_one_table() -> None:
    given, there = np.array([[1], [1], [0], [0], [0]], bool), np.array([[1], [0], [1], [1], [0]])
    assert counts_of_each(given, there.astype(bool)).tolist() == [[[1, 1], [2, 1]]]


def test_what_sheets_of_several_labels_show(several: SeveralLabels) -> None:
    sheets = several_labels.sheets(several, PLAN, seed=1)
    assert sorted(tile.row for tile in sheets["random_right"].tiles) == [1, 3]
    assert sorted(tile.row for tile in sheets["random_wrong"].tiles) == [0, 2]
    # Distances from the thresholds: 0.1 (bee), 0.05 (bee), 0.1 (ant), 0.4 (ant).
    assert [tile.row for tile in sheets["most_uncertain"].tiles] == [1, 0, 2, 3]
    wrong = {b.heading: [t.row for t in b.tiles] for b in sheets["most_incorrect"].blocks}
    assert wrong == {"ant": [2], "bee": [0], "cat": [2]}
    found = {b.heading: [t.row for t in b.tiles] for b in sheets["most_correct"].blocks}
    assert found == {"ant": [0], "bee": [1]}
    assert sheets["most_correct"].note.endswith("2 of 3 classes.")
    missed, false = (sheets["most_incorrect"].blocks[n].tiles[0].caption[2] for n in (2, 0))
    assert (missed.left, missed.right) == ("missed cat", "0.300")
    assert (false.left, false.right) == ("false ant", "0.600")


@pytest.fixture
def places() -> Points:
    """Three items with two points, of two persons; errors 0, 5 and 13 / 2."""
    table = pd.DataFrame(
        {
            "path": ["a", "b", "c"],
            "split": "valid",
            "label": "",
            "person": ["1", "2", "2"],
            "target": [np.array([10.0, 10, 20, 20])] * 3,
            "prediction": [
                np.array([10.0, 10, 20, 20]), np.array([13.0, 14, 23, 24]),
                np.array([10.0, 10, 25, 32]),
            ],
        }
    )  # fmt: skip
    return Points.read(table, np.array([[40, 50]] * 3))


def test_tables_of_points_by_hand(places: Points) -> None:
    found = points.tables(places, PLAN)
    worst = found["top_losses"]
    assert worst["path"].tolist() == ["c", "b", "a"]
    assert worst["error_pixels"].tolist() == [6.5, 5.0, 0.0]
    assert worst[["target_x_2", "predicted_x_2", "predicted_y_2"]].to_numpy()[0].tolist() == [
        20, 25, 32,
    ]  # fmt: skip
    groups = found["groups"].set_index("group")
    assert groups.index.tolist() == ["all", "person 1", "person 2"]
    assert groups["items"].tolist() == [3, 1, 2]
    assert groups["mean_pixels"].tolist() == pytest.approx([23 / 6, 0, 5.75])
    assert groups["median_pixels"].tolist() == pytest.approx([2.5, 0, 5])


def test_what_sheets_of_points_show(places: Points) -> None:
    sheets = points.sheets(places, Interpret(pictures=2), seed=1)
    assert [tile.row for tile in sheets["top_losses"].tiles] == [2, 1]
    assert [tile.row for tile in sheets["best"].tiles] == [0, 1]
    target, prediction = sheets["top_losses"].tiles[0].marks[1]
    assert (target.x, target.y) == (20 / 40, 20 / 50)
    assert (prediction.x, prediction.y) == (25 / 40, 32 / 50)


def test_the_highest_are_in_order_and_ties_stay() -> None:
    scores, among = np.array([1.0, 3.0, 3.0, 2.0, 9.0]), np.array([1, 1, 1, 1, 0], bool)
    assert highest(scores, among, 3).tolist() == [1, 2, 3]
    assert highest(scores, ~among, 3).tolist() == [4]


def test_draws_are_the_seeds() -> None:
    among = np.arange(100) % 2 == 0
    first = drawn(among, 10, 42, "right")
    assert len(set(first.tolist())) == 10
    assert among[first].all()
    assert first.tolist() == drawn(among, 10, 42, "right").tolist()
    assert first.tolist() != drawn(among, 10, 43, "right").tolist()
    assert first.tolist() != drawn(among, 10, 42, "wrong").tolist()


def test_many_classes_show_fewer_images_each() -> None:
    vocab = [str(number) for number in range(37)]
    of_class = [([Tile(row, []) for row in range(4)], "")] * 37
    sheet = by_class("", "", vocab, of_class, per_class=4)
    assert [len(block.tiles) for block in sheet.blocks] == [2] * 37
    many = by_class("", "", vocab * 4, of_class * 4, per_class=4)
    assert len(many.tiles) == 75
    assert many.note == " 75 of 148 classes."
