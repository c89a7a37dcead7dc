"""Split rules: what is held out, exactly."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest

from thaw.core.errors import UserError
from thaw.params.split import (
    ColumnSplit,
    FolderSplit,
    FoldsSplit,
    GroupSplit,
    RandomSplit,
    SplitRule,
)
from thaw.tables.splits import (
    check_split,
    group_folds,
    held_out,
    keep_folders,
    random_folds,
    random_split,
    shuffled,
    split_metrics,
    stratified_folds,
    stratified_split,
)

SEEDS = range(20)


def items(**columns: list[str]) -> pd.DataFrame:
    count = len(next(iter(columns.values())))
    names = {"path": [f"{i:03}.jpg" for i in range(count)], "label": ["x"] * count}
    return pd.DataFrame(names | columns)


def labels_of(counts: dict[str, int]) -> np.ndarray:
    return np.array([name for name, count in counts.items() for _ in range(count)])


def names_held_out(table: pd.DataFrame, rule: SplitRule, seed: int = 0) -> list[str]:
    return table["path"][held_out(table, rule, seed)].tolist()


def test_the_order_is_pinned() -> None:
    # A change here silently changes every published split.
    assert shuffled(8, 42, "split").tolist() == [7, 4, 0, 2, 3, 5, 1, 6]
    assert shuffled(8, 43, "split").tolist() == [3, 4, 1, 2, 0, 6, 5, 7]
    assert shuffled(8, 42, "folds").tolist() == [6, 4, 3, 5, 0, 1, 2, 7]


@pytest.mark.parametrize(("count", "share", "held"), [(617, 0.2, 123), (10, 0.99, 9), (4, 0.2, 0)])
def test_random_holds_out_the_rounded_down_share(count: int, share: float, held: int) -> None:
    for seed in SEEDS:
        assert random_split(count, share, seed).sum() == held


def test_random_holds_out_every_item_equally_often() -> None:
    often = sum(random_split(20, 0.25, seed).astype(int) for seed in range(2000))
    # Binomial: mean 500, standard deviation 19; 20 items within 4.5 of them.
    assert np.abs(often - 500).max() < 4.5 * 19.4


def test_stratified_rounds_by_largest_remainder() -> None:
    # 0.3 of 20 is 6; the classes' shares of it are 3.3, 1.8 and 0.9: 3, 1 and 0 rounded down,
    # and the two items left go to b (.8) and c (.9).
    labels = labels_of({"a": 11, "b": 6, "c": 3})
    for seed in SEEDS:
        valid = stratified_split(labels, 0.3, seed)
        assert Counter(labels[valid].tolist()) == {"a": 3, "b": 2, "c": 1}


def test_stratified_takes_the_total_of_random() -> None:
    for seed in SEEDS:
        sizes = np.random.default_rng(seed).integers(1, 30, 9)
        labels = labels_of({f"c{i}": int(size) for i, size in enumerate(sizes)})
        for share in (0.1, 0.2, 1 / 3, 0.5):
            valid = stratified_split(labels, share, seed)
            held = Counter(labels[valid].tolist())
            assert valid.sum() == int(share * len(labels))
            for i, size in enumerate(sizes):
                exact = int(share * len(labels)) * size / len(labels)
                assert held[f"c{i}"] in (int(exact), int(exact) + 1)


def test_stratified_leaves_a_class_its_last_item() -> None:
    # Of int(0.5 * 9) = 4 the exact shares are .44, .44, 1.33 and 1.78. By remainder alone the
    # second of the two left would come from a, which has one item.
    labels = labels_of({"a": 1, "b": 1, "c": 3, "d": 4})
    valid = stratified_split(labels, 0.5, 1)
    assert Counter(labels[valid].tolist()) == {"c": 2, "d": 2}


def test_stratified_draws_within_the_class() -> None:
    labels = labels_of({"a": 10, "b": 10})
    drawn = {tuple(np.flatnonzero(stratified_split(labels, 0.2, seed))) for seed in SEEDS}
    assert len(drawn) > 10


def test_random_folds_are_disjoint_cover_all_and_differ_by_at_most_one() -> None:
    table = items(path=[f"{i:02}.jpg" for i in range(23)])
    held = [
        names_held_out(table, FoldsSplit(rule="folds", of="random", folds=5, fold=fold), seed=3)
        for fold in range(5)
    ]
    assert sorted(name for fold in held for name in fold) == table["path"].tolist()
    assert sorted(map(len, held)) == [4, 4, 5, 5, 5]
    assert not np.array_equal(random_folds(23, 5, 3), random_folds(23, 5, 4))


def test_stratified_folds_differ_by_at_most_one_in_each_class_and_in_all() -> None:
    for seed in SEEDS:
        sizes = np.random.default_rng(seed).integers(1, 25, 7)
        labels = labels_of({f"c{i}": int(size) for i, size in enumerate(sizes)})
        fold = stratified_folds(labels, 5, seed)
        assert np.ptp(np.bincount(fold, minlength=5)) <= 1
        for name in np.unique(labels):
            assert np.ptp(np.bincount(fold[labels == name], minlength=5)) <= 1


def test_no_group_is_in_two_folds_and_the_folds_are_balanced() -> None:
    # Greedy, largest first: 9 | 8 | 7, then 4 to the 7, 3 to the 8, 2 to the 9, 1 to any of 11.
    groups = labels_of({"a": 9, "b": 8, "c": 7, "d": 4, "e": 3, "f": 2, "g": 1})
    for seed in SEEDS:
        fold = group_folds(groups, 3, seed)
        assert all(len(set(fold[groups == name])) == 1 for name in np.unique(groups))
        assert np.bincount(fold).tolist() == [12, 11, 11]


def test_the_seed_decides_between_groups_of_one_number() -> None:
    groups = labels_of(dict.fromkeys("abcdef", 2))
    folds = {tuple(group_folds(groups, 3, seed)) for seed in SEEDS}
    assert len(folds) > 5
    assert all(np.bincount(fold).tolist() == [4, 4, 4] for fold in folds)


def test_fewer_groups_than_folds_are_refused() -> None:
    with pytest.raises(UserError, match="5 folds of 2 groups: a, b"):
        group_folds(np.array(["a", "b", "a"]), 5, 0)


def test_group_holds_out_whole_groups() -> None:
    table = items(person=["12", "13", "14", "13", "12"])
    rule = GroupSplit(rule="group", column="person", valid=["13", "14"])
    assert names_held_out(table, rule) == ["001.jpg", "002.jpg", "003.jpg"]


def test_a_group_nobody_is_in_is_refused() -> None:
    rule = GroupSplit(rule="group", column="person", valid=["31", "12"])
    with pytest.raises(UserError, match="no item has the group 31; did you mean '3'"):
        held_out(items(person=["12", "3"]), rule, 0)


def test_items_without_a_group_are_refused() -> None:
    rule = FoldsSplit(rule="folds", of="group", folds=2, column="person")
    with pytest.raises(UserError, match=r"1 of 3 items have no 'person': 001\.jpg"):
        held_out(items(person=["12", "", "13"]), rule, 0)


def test_an_unknown_column_is_refused() -> None:
    rule = GroupSplit(rule="group", column="persn", valid=["1"])
    with pytest.raises(UserError, match="there is no column 'persn'; did you mean 'person'"):
        held_out(items(person=["1"]), rule, 0)


def test_column_takes_truthy_values() -> None:
    marks = ["True", "false", "1", "0", "", "yes", "N", "2.0", "-0.0"]
    held = held_out(items(is_valid=marks), ColumnSplit(rule="column", column="is_valid"), 0)
    assert [m for m, out in zip(marks, held, strict=True) if out] == ["True", "1", "yes", "2.0"]


@pytest.mark.parametrize("mark", ["test", "nan", "inf"])
def test_a_value_that_is_neither_true_nor_false_is_refused(mark: str) -> None:
    with pytest.raises(UserError, match=f"neither true nor false: {mark}"):
        held_out(items(use=["True", mark]), ColumnSplit(rule="column", column="use"), 0)


def test_column_takes_the_listed_values() -> None:
    table = items(csv_split=["train", "val", "test", "val"])  # a CSV's own column `split`
    rule = ColumnSplit(rule="column", column="split", valid=["val", "test"])
    assert names_held_out(table, rule) == ["001.jpg", "002.jpg", "003.jpg"]
    with pytest.raises(UserError, match="no item has the value valid; did you mean 'val'"):
        held_out(table, ColumnSplit(rule="column", column="split", valid=["valid"]), 0)


def test_only_the_first_folder_counts() -> None:
    # The published dogscats archive has a small copy of itself in `sample`.
    paths = ["sample/train/cats/1.jpg", "sample/valid/cats/1.jpg", "test1/2.jpg", "top.jpg"]
    paths += ["train/cats/3.jpg", "train/valid/5.jpg", "valid/dogs/4.jpg"]
    rule = FolderSplit(rule="folder")
    kept, left = keep_folders(pd.DataFrame({"path": paths}), rule)
    assert kept["path"].tolist() == paths[4:]
    assert left == {"no folder": 1, "sample": 2, "test1": 1}
    assert held_out(kept.assign(label="x"), rule, 0).tolist() == [False, False, True]


def test_a_folder_without_images_is_refused() -> None:
    table = pd.DataFrame({"path": ["train/a.jpg", "vaild/b.jpg"]})
    with pytest.raises(UserError, match=r"by\.valid: no image .* 'valid' .*did you mean 'vaild'"):
        keep_folders(table, FolderSplit(rule="folder"))


def test_a_class_that_training_lacks_is_refused() -> None:
    labels = [["a"], ["b", "a"], ["b"], ["c"], ["d"]]
    valid = np.array([False, True, True, False, True])
    with pytest.raises(UserError, match=r"2 of 4 classes: b \(2 items\), d \(1 item\)"):
        check_split(labels, valid, ["a", "b", "c", "d"])


@pytest.mark.parametrize(
    ("held", "side"),
    [
        (0, "0 of 3 items to hold out"),
        (1, "1 of 3 items to hold out"),
        (2, "1 of 3 items to train on"),
        (3, "0 of 3 items to train"),
    ],
)
def test_a_side_of_less_than_two_is_refused(held: int, side: str) -> None:
    with pytest.raises(UserError, match=side):
        check_split([["a"], ["b"], ["a"]], np.arange(3) < held, ["a", "b"])


def test_metrics_count_both_sides() -> None:
    labels = [["a"], ["a", "b"], ["a"], [], ["b"], ["c"]]
    valid = np.array([False] * 4 + [True, False])
    assert split_metrics(labels, valid, ["a", "b", "c"]) == {
        "items": 6, "classes": 3,
        "train/items": 5, "train/smallest_class": 1, "train/largest_class": 3,
        "train/unlabelled": 1,
        "valid/items": 1, "valid/smallest_class": 0, "valid/largest_class": 1,
        "valid/unlabelled": 0,
    }  # fmt: skip


def test_metrics_of_points_count_items_alone() -> None:
    assert split_metrics([[], []], np.array([True, False]), []) == {
        "items": 2, "classes": 0, "train/items": 1, "valid/items": 1,
    }  # fmt: skip


def test_two_recordings_of_one_person_are_one_group() -> None:
    table = items(person=["01", "02", "13", "02", "03"])
    same = [["01", "13"]]
    rule = GroupSplit(rule="group", column="person", valid=["13"], same=same)
    assert held_out(table, rule, 1).tolist() == [True, False, True, False, False]
    for fold in range(3):
        rule = FoldsSplit(rule="folds", of="group", folds=3, fold=fold, column="person", same=same)
        out = held_out(table, rule, 1)
        assert out[0] == out[2]
    wrong = GroupSplit(rule="group", column="person", valid=["13"], same=[["1", "13"]])
    with pytest.raises(UserError, match=r"split\.by\.same: no item has the group 1"):
        held_out(table, wrong, 1)


def test_a_group_in_two_lists_of_the_same_person_is_refused() -> None:
    with pytest.raises(ValueError, match="same lists 02 twice"):
        GroupSplit(rule="group", column="p", valid=["01"], same=[["01", "02"], ["02", "03"]])


def test_the_same_names_and_seed_give_the_same_split_and_another_seed_another() -> None:
    table = items(label=list("abcd") * 20)
    for rule in (RandomSplit(rule="random"), RandomSplit(rule="random", stratify=True)):
        once, again = (held_out(table, rule, 42) for _ in range(2))
        assert np.array_equal(once, again)
        assert not np.array_equal(once, held_out(table, rule, 43))
