"""Labels from names, folders and CSV files."""

from pathlib import Path

import pandas as pd
import pytest

from thaw.core.errors import UserError
from thaw.params.split import CsvLabel, FolderLabel
from thaw.tables.csv_items import LINE, read_csv_items
from thaw.tables.labels import (
    add_columns,
    find_items,
    has_several_labels,
    labels_by_folder,
    labels_by_pattern,
    labels_of,
    multi_hot,
    several_labels_of,
    vocabulary,
)

PETS = r"(.+)_\d+\.jpg$"
CATS_ARE_UPPER_CASE = "^(?:(?P<cat>[A-Z])|(?P<dog>[a-z]))"


def test_group_1_of_the_file_name_is_the_label() -> None:
    paths = ["Egyptian_Mau_1.jpg", "deep/er/pug_22.jpg", "british_2_shorthair_3.jpg"]
    assert labels_by_pattern(paths, PETS) == ["Egyptian_Mau", "pug", "british_2_shorthair"]


def test_the_name_of_the_matching_group_is_the_label() -> None:
    assert labels_by_pattern(["x/Abyssinian_1.jpg", "Y/pug_1.jpg"], CATS_ARE_UPPER_CASE) == [
        "cat",
        "dog",
    ]


def test_names_that_do_not_match_are_counted_and_named() -> None:
    paths = ["pug_1.jpg", *(f"img{i}.jpg" for i in range(12))]
    with pytest.raises(UserError, match=r"12 of 13 file names do not match .*img9\.jpg and 2 more"):
        labels_by_pattern(paths, PETS)


@pytest.mark.parametrize(
    "pattern",
    [
        "(x*)b",  # an empty label
        "(x)?b",  # a group that takes no part
        "(?P<one>a)(?P<two>b)",  # two names at once
        "(?P<one>x)|(?P<two>y)|b",  # none
    ],
)
def test_a_pattern_that_gives_no_or_two_labels_does_not_match(pattern: str) -> None:
    with pytest.raises(UserError, match="1 of 1 file names do not match"):
        labels_by_pattern(["ab.jpg"], pattern)


def test_the_own_folder_is_the_label() -> None:
    assert labels_by_folder(["black/1.jpg", "train/cats/2.jpg"]) == ["black", "cats"]
    with pytest.raises(UserError, match=r"1 of 2 images lie in no folder .*: top\.jpg\."):
        labels_by_folder(["black/1.jpg", "top.jpg"])


def csv_rule(**rule: str | list[str]) -> CsvLabel:
    known = {"file": "train.csv", "path": "fname", "column": "labels"} | rule
    return CsvLabel(rule="csv", **known)


def csv_items(folder: Path, text: str, listed: list[str], **rule: str):
    (folder / "train.csv").write_text(text, encoding="utf-8")
    return read_csv_items(csv_rule(**rule), folder, listed)


def several(folder: Path, text: str, **rule: str | list[str]) -> list[list[str]]:
    (folder / "train.csv").write_bytes(text.encode())
    wanted = csv_rule(**rule)
    assert has_several_labels(wanted)
    return several_labels_of(read_csv_items(wanted, folder, ["a.jpg", "b.jpg", "c.jpg"]), wanted)


def test_a_csv_gives_labels_and_its_other_columns_as_text(tmp_path: Path) -> None:
    text = '\ufefffname,labels,is_valid,note\nb.jpg,NA,True,"x, y"\n\na.jpg,007,False,\n'
    items = csv_items(tmp_path, text, ["a.jpg", "b.jpg", "c.jpg"])
    assert items.to_dict("list") == {
        "path": ["a.jpg", "b.jpg"],
        "csv_labels": ["007", "NA"],
        "is_valid": ["False", "True"],
        "note": ["", "x, y"],
        LINE: ["4", "2"],
    }
    assert labels_of(items, csv_rule()) == ["007", "NA"]


def test_prefix_suffix_and_delimiter(tmp_path: Path) -> None:
    items = csv_items(
        tmp_path, "fname\tlabels\n7\tcat\n./8\tdog\n", ["train/7.jpg", "train/8.jpg"],
        delimiter="\t", prefix="train/", suffix=".jpg",
    )  # fmt: skip
    assert items["path"].tolist() == ["train/7.jpg", "train/8.jpg"]


def test_columns_called_like_thaws_own_keep_their_content(tmp_path: Path) -> None:
    items = csv_items(tmp_path, "fname,labels,split,path\na.jpg,x,test,p\n", ["a.jpg"])
    assert items.to_dict("list") == {
        "path": ["a.jpg"], "csv_labels": ["x"], "csv_split": ["test"], "csv_path": ["p"],
        LINE: ["2"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "rule", "message"),
    [
        ("fname,label\na.jpg,x\n", {}, "column: .*no column 'labels'; did you mean 'label'"),
        ("name,labels\na.jpg,x\n", {}, "path: .*no column 'fname'; did you mean 'name'"),
        ("", {}, "no column 'fname'; nothing is known"),
        ("fname,labels\na.jpg,x,y\n", {}, r"train\.csv, line 2: 3 columns where the header has 2"),
        ("fname,labels,labels\na.jpg,x,y\n", {}, "several columns called labels"),
        ('fname,labels\n"a.jpg,x\n', {}, "line 2: unexpected end of data. Correct the line"),
        ("fname,labels\na.jpg,x\n", {"file": "trian.csv"}, "does not exist; did you mean 'train"),
        ("fname,labels\na.jpg,x\na.jpg,x\n", {}, r"1 row, line 3 \(a\.jpg\): .* has a row already"),
        ("fname,labels\na,x\nq,y\n", {}, r"2 rows, line 2 \(a\), line 3 .*There is 'a\.jpg'"),
    ],
)  # fmt: skip
def test_csv_mistakes(tmp_path: Path, text: str, rule: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        csv_items(tmp_path, text, ["a.jpg", "b.jpg"], **rule)


def test_all_mistakes_in_rows_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        csv_items(tmp_path, "fname,labels\na.jpg,y\na.jpg,x\nq.jpg,x\n", ["a.jpg"])
    assert len(str(caught.value).splitlines()) == 2


def test_a_row_without_its_one_label_is_refused_with_its_line(tmp_path: Path) -> None:
    items = csv_items(tmp_path, "fname,labels\r\na.jpg,x\r\n\r\nb.jpg, \r\n", ["a.jpg", "b.jpg"])
    with pytest.raises(UserError, match=r"1 row, line 4 \(b\.jpg\) without a label in 'labels'"):
        labels_of(items, csv_rule())


def test_labels_are_separated_and_an_empty_cell_means_none(tmp_path: Path) -> None:
    text = "\ufefffname,labels\r\na.jpg,horse person\r\nb.jpg,\r\nc.jpg,car  car \r\n"
    found = several(tmp_path, text, separator=" ")
    assert found == [["horse", "person"], [], ["car"]]
    assert multi_hot(found, ["car", "horse", "person"]).tolist() == [
        [0, 1, 1],
        [0, 0, 0],
        [1, 0, 0],
    ]


def test_a_column_for_each_label(tmp_path: Path) -> None:
    text = "fname,cat,dog\na.jpg,1,yes\nb.jpg,0,\nc.jpg,False,T\n"
    assert several(tmp_path, text, column=["cat", "dog"]) == [["cat", "dog"], [], ["dog"]]
    with pytest.raises(UserError, match=r"'dog' is neither true nor false: 1 row, line 2 \(a\.jpg"):
        several(tmp_path, text.replace("yes", "maybe"), column=["cat", "dog"])


def test_a_folder_of_none_makes_labels_independent() -> None:
    rule = FolderLabel(rule="folder", none="other")
    items = find_items(rule, ["black/1.jpg", "other/2.jpg"], Path())
    assert has_several_labels(rule)
    assert several_labels_of(items, rule) == [["black"], []]
    assert vocabulary(["black"], None, several=True) == ["black"]


def test_a_folder_of_none_that_is_not_there_is_refused() -> None:
    items = pd.DataFrame({"path": ["cat/1.jpg", "other/2.jpg"]})
    with pytest.raises(UserError, match=r"no image lies in a folder 'othr'; did you mean 'other'"):
        several_labels_of(items, FolderLabel(rule="folder", none="othr"))


def test_no_label_at_all_is_refused() -> None:
    with pytest.raises(UserError, match="finds no label at all"):
        vocabulary([], None, several=True)


def test_columns_from_named_groups_and_the_folder() -> None:
    rule = FolderLabel(rule="folder")
    items = find_items(rule, ["13/a_1.jpg", "14/b.jpg"], Path())
    added = add_columns(items, r"^(?P<person>\d+)/[^_]*(_(?P<number>\d+))?")
    assert added["person"].tolist() == ["13", "14"]
    assert added["number"].tolist() == ["1", ""]
    assert added["folder"].tolist() == ["13", "14"]
    assert "person" not in items


def test_paths_without_the_named_groups_are_refused() -> None:
    items = find_items(FolderLabel(rule="folder"), ["13/a.jpg", "x/b.jpg"], Path())
    with pytest.raises(UserError, match=r"1 of 2 paths do not match .*: x/b\.jpg"):
        add_columns(items, r"^(?P<person>\d+)/")


def test_a_named_group_must_not_hide_a_column_of_the_csv(tmp_path: Path) -> None:
    items = csv_items(tmp_path, "fname,labels,person\na.jpg,x,1\n", ["a.jpg"])
    with pytest.raises(UserError, match="has a column 'person' already"):
        add_columns(items, "(?P<person>.)")


def test_the_vocabulary_is_sorted_unless_classes_orders_it() -> None:
    labels = ["pug", "Bengal", "beagle", "pug"]
    assert vocabulary(labels, None) == ["Bengal", "beagle", "pug"]
    assert vocabulary(labels, ["pug", "beagle", "Bengal"]) == ["pug", "beagle", "Bengal"]


def test_labels_and_classes_must_agree() -> None:
    with pytest.raises(UserError) as caught:
        vocabulary(["cat", "dog", "dgo", "dog", "hog", "hog"], ["cat", "dog", "hgo"])
    assert str(caught.value).splitlines() == [
        "split.classes does not list dgo (1 item), hog (2 items). "
        "Add them, or remove these images.",
        "split.classes lists hgo, but no image has this label; did you mean 'hog'?",
    ]


def test_one_class_is_nothing_to_learn() -> None:
    with pytest.raises(UserError, match="gives all 2 images the label 'images'"):
        vocabulary(["images", "images"], None)
