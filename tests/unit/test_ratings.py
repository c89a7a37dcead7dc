"""Reading a table of ratings, numbering users and items, holding some out."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from thaw.core.errors import UserError
from thaw.params.base import parse
from thaw.params.ratings import RatingsLabel
from thaw.params.split import RandomSplit, TimeSplit
from thaw.ratings.table import (
    _lines_of,
    items_table,
    merged,
    numbered,
    ratings_metrics,
    read_ratings,
    vocabularies,
)
from thaw.tables.splits import held_out

RATINGS = "7\t1\t3\t50\n10\t2\t5\t20\n7\t2\t1\t30\n9\t3\t4\t10\n"
# Titles with an accent (é is one byte in latin-1), a quotation mark and a comma.
ITEMS = '1|Misérables, Les (1995)|01-Jan-1995|0\n2|"City" of Kansas|x|1\n3|"City" of Kansas|y|1\n'


@pytest.fixture
def read(tmp_path: Path):
    """Write both tables, and read them by a rule with some parameters of its own."""

    def run(ratings=RATINGS, items=ITEMS, **rule) -> pd.DataFrame:
        for name, text in (("u.data", ratings), ("u.item", items)):
            if text is not None:
                content = text.encode("latin-1") if isinstance(text, str) else text
                (tmp_path / name).write_bytes(content)
        return read_ratings(tmp_path, parse(RatingsLabel, {"rule": "ratings"} | rule, "label"))

    return run


def refusal(read, **arguments) -> str:
    with pytest.raises(UserError) as caught:
        read(**arguments)
    return str(caught.value)


def test_a_table_is_read_as_it_stands(read) -> None:
    table = read()
    assert list(table) == ["user", "item", "id", "title", "rating", "timestamp"]
    assert table["user"].tolist() == ["7", "10", "7", "9"]
    assert table["item"].tolist() == table["id"].tolist() == ["1", "2", "2", "3"]
    assert table["title"].tolist() == [
        "Misérables, Les (1995)", '"City" of Kansas', '"City" of Kansas', '"City" of Kansas',
    ]  # fmt: skip
    assert table["rating"].dtype == np.float32
    assert table["rating"].tolist() == [3, 5, 1, 4]
    assert table["timestamp"].dtype == np.int64
    assert table["timestamp"].tolist() == [50, 20, 30, 10]


def test_mark_windows_newlines_and_blank_lines_change_nothing_and_are_told(read, capsys) -> None:
    plain = read()
    assert capsys.readouterr().out == ""
    first, rest = RATINGS.replace("\n", "\r\n").split("\r\n", 1)
    odd = b"\xef\xbb\xbf" + f"\r\n{first}\r\n  \r\n{rest}\r\n".encode()
    pd.testing.assert_frame_equal(read(ratings=odd, items=ITEMS.replace("\n", "\r\n")), plain)
    said = capsys.readouterr().out.splitlines()
    assert said[0].endswith(
        "u.data: a byte-order mark, Windows newlines, 3 blank lines (lines 1, 3, 7): skipped."
    )
    assert said[1].endswith("u.item: Windows newlines: skipped.")


def test_lines_are_counted_as_an_editor_counts_them(read) -> None:
    message = refusal(read, ratings="\n1\t1\t3\t0\n\r\n2\t1\tx\t0\n")
    assert "u.data, line 4: the rating 'x' is not a number" in message


@pytest.mark.parametrize("rows", [1, 2, 3, 4])
def test_a_table_does_not_depend_on_how_many_rows_are_read_at_once(read, monkeypatch, rows) -> None:
    whole = read()
    monkeypatch.setattr("thaw.ratings.table.ROWS_AT_ONCE", rows)
    pd.testing.assert_frame_equal(read(), whole)
    monkeypatch.setattr("thaw.ratings.table.CHARACTERS_AT_ONCE", rows)
    pd.testing.assert_frame_equal(read(), whole)
    message = refusal(read, ratings=f"{RATINGS}8\t1\t3\n9\t1\t3\t1\n9\t2\n")
    assert "u.data, lines 5, 7: 3 columns, but the first line has 4." in message


def test_the_last_line_needs_no_newline(read) -> None:
    pd.testing.assert_frame_equal(read(ratings=RATINGS.removesuffix("\n")), read())


def test_encodings(read) -> None:
    utf8 = read(items=ITEMS.encode("utf-8"), encoding="utf-8")
    pd.testing.assert_frame_equal(utf8, read())
    message = refusal(read, encoding="utf-8")  # é in latin-1 is no utf-8
    assert "split.label.items: " in message
    assert "u.item, line 1: not utf-8. Set split.label.encoding." in message


def test_header_delimiters_and_columns_in_another_order(read) -> None:
    table = read(
        ratings='when,who,what,"stars, given"\n5,ann,m1,4.5\n6,bo,m2,3\n',
        items='id;name\nm1;One, or "two"\nm2;Two\n',
        header=True,
        delimiter=",",
        items_delimiter=";",
        columns=["when", "user", "item", "rating"],
        range=[0.5, 5.0],
    )
    assert list(table) == ["user", "item", "id", "title", "rating"]  # `when` is skipped
    assert table.values.tolist() == [
        ["ann", "m1", "m1", 'One, or "two"', 4.5],
        ["bo", "m2", "m2", "Two", 3.0],
    ]


def test_quotes_hold_commas_together_in_tables_with_commas_only(read) -> None:
    table = read(items='1,"Misérables, Les"\n2,b\n3,c\n', items_delimiter=",")
    assert table["title"][0] == "Misérables, Les"


def test_without_a_list_of_items_the_ids_are_the_titles(read, tmp_path) -> None:
    read()
    (tmp_path / "u.item").unlink()
    table = read_ratings(tmp_path, RatingsLabel(rule="ratings", items=None))
    assert table["title"].tolist() == table["item"].tolist() == ["1", "2", "2", "3"]


def test_columns_beyond_those_needed_are_skipped(read) -> None:
    table = read(ratings="1\t1\t2\tx\ty\n2\t1\t3\tx\ty\n", columns=["user", "item", "rating"])
    assert list(table) == ["user", "item", "id", "title", "rating"]


def test_names_are_text_that_looks_like_a_number_or_nothing(read) -> None:
    table = read(ratings="007\t1\t3\t0\nNA\t1\t3\t0\nnan\t2\t3\t0\n")
    assert table["user"].tolist() == ["007", "NA", "nan"]


@pytest.mark.parametrize("name", ["u.data", "u.item"])
def test_a_missing_file_is_named_with_the_nearest_one(read, tmp_path, name) -> None:
    read()
    (tmp_path / name).rename(tmp_path / f"{name}s")
    key = {"u.data": "ratings", "u.item": "items"}[name]
    message = refusal(read, ratings=None, items=None)
    assert f"split.label.{key}: {tmp_path / name} does not exist" in message
    assert f"did you mean '{name}s'?" in message


@pytest.mark.parametrize(
    ("rating", "problem"),
    [
        ("nan", "the rating 'nan' is not a number"),
        ("", "the rating '' is not a number"),
        ("4,5", "the rating '4,5' is not a number"),
        ("inf", "the rating inf is outside of 1 to 5"),
        ("5.5", "the rating 5.5 is outside of 1 to 5"),
        ("0", "the rating 0 is outside of 1 to 5"),
        ("-1", "the rating -1 is outside of 1 to 5"),
    ],
)
def test_an_odd_rating_is_refused(read, tmp_path, rating, problem) -> None:
    message = refusal(read, ratings=f"{RATINGS}8\t1\t{rating}\t5\n")
    assert message.startswith(f"split.label.ratings: {tmp_path / 'u.data'}, line 5: {problem}. ")
    assert len(message.splitlines()) == 1


def test_the_ends_of_the_range_are_ratings(read) -> None:
    table = read(ratings="1\t1\t-2\t0\n2\t1\t2.5\t0\n", range=[-2.0, 2.5])
    assert table["rating"].tolist() == [-2, 2.5]


def test_a_pair_rated_twice_is_refused_with_both_lines(read) -> None:
    message = refusal(read, ratings=f"{RATINGS}10\t2\t4\t99\n9\t3\t4\t10\n")
    assert "u.data, lines 2 and 5: user 10 rates item 2 twice. Leave one" in message
    assert "1 line more like these." in message


def test_equal_titles_are_no_pair_rated_twice(read) -> None:
    table = read(ratings="1\t2\t3\t0\n1\t3\t4\t0\n", item_key="title")
    assert table["item"].tolist() == ['"City" of Kansas'] * 2


def test_an_item_without_a_title_is_refused(read) -> None:
    message = refusal(read, ratings=f"{RATINGS}7\t4\t4\t0\n7\t5\t4\t0\n")
    assert "split.label.ratings: " in message
    assert "u.data, lines 5, 6: item 4 is not in u.item. Add it there" in message


@pytest.mark.parametrize("column", ["user", "item"])
def test_a_rating_of_nobody_or_nothing_is_refused(read, column) -> None:
    line = {"user": "\t1\t3\t0\n", "item": "1\t\t3\t0\n"}[column]
    assert f"u.data, line 5: no {column}. Fill it in" in refusal(read, ratings=RATINGS + line)


@pytest.mark.parametrize("time", ["soon", "1.5", "", "9" * 19])
def test_a_bad_timestamp_is_refused(read, time) -> None:
    message = refusal(read, ratings=f"{RATINGS}8\t1\t3\t{time}\n")
    assert f"u.data, line 5: the timestamp '{time}' is not a whole number" in message
    assert "split.label.columns" in message


def test_too_few_columns_are_refused_with_what_to_change(read) -> None:
    message = refusal(read, delimiter=",")
    assert "u.data, line 1: 1 column, 4 are needed" in message
    assert "split.label.delimiter, or split.label.columns" in message
    message = refusal(read, items_delimiter="\t")
    assert "split.label.items: " in message
    assert "u.item, line 1: 1 column, 2 are needed" in message
    assert "split.label.items_delimiter" in message


def test_a_line_of_other_columns_is_refused(read) -> None:
    message = refusal(read, ratings=f"{RATINGS}8\t1\n8\t2\n")
    assert "u.data, lines 5, 6: 2 columns, but the first line has 4. Correct the line" in message
    message = refusal(read, ratings=f"{RATINGS}8\t1\t3\t4\t5\n")
    assert "split.label.ratings" in message
    assert "u.data, line 5: 5 columns, but the first line has 4. Correct the line" in message
    message = refusal(read, items=f"{ITEMS}4|Alien\n")
    assert "u.item, line 4: 2 columns, but the first line has 4" in message


def test_a_quotation_that_never_ends_is_refused(read) -> None:
    message = refusal(read, items='1,"a"\n2,"b\n3,"c"\n', items_delimiter=",")
    assert "split.label.items: " in message
    assert "u.item, line 3: " in message
    assert "Correct the line, or split.label.items_delimiter." in message


@pytest.mark.parametrize("content", ["", "\n\n", b"\xef\xbb\xbf"])
def test_an_empty_file_is_refused(read, content) -> None:
    assert "u.data" in refusal(read, ratings=content)
    assert "u.item" in refusal(read, items=content)


def test_a_file_of_a_header_alone_is_refused(read) -> None:
    assert "u.data has no ratings" in refusal(
        read, ratings="a\tb\tc\td\n", items="a|b\n" + ITEMS, header=True
    )


def test_an_item_listed_twice_or_without_a_title_is_refused(read) -> None:
    message = refusal(read, items=f"{ITEMS}2|Other|z|0\n4||z|0\n")
    assert "split.label.items: " in message
    assert "u.item, line 4: item 2 is listed a second time" in message
    assert "u.item, line 5: no title" in message


def test_every_problem_of_a_table_is_told_at_once(read) -> None:
    message = refusal(read, ratings=f"{RATINGS}8\t1\t9\t5\n8\t1\tx\tsoon\n8\t77\t3\t5\n")
    starts = ["5: the rating 9", "6: the rating 'x'", "6: the timestamp 'soon'", "lines 5 and 6"]
    assert len(message.splitlines()) == 5
    for part in [*starts, "line 7: item 77"]:
        assert part in message


def test_many_lines_are_counted(read) -> None:
    odd = "".join(f"{user}\t1\t0\t0\n" for user in range(100, 112))
    assert "u.data, lines 5, 6, 7 and 9 more: the rating 0" in refusal(read, ratings=RATINGS + odd)


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ({"columns": ["user", "item"]}, "lacks rating"),
        ({"columns": ["user", "item", "rating", "user"]}, "has user twice"),
        ({"range": [5.0, 1.0]}, "the lower one first"),
        ({"item_key": "title", "items": None}, "item_key: title needs titles"),
        ({"delimiter": "::"}, "delimiter"),
    ],
)
def test_impossible_rules_are_refused(rule, problem) -> None:
    with pytest.raises(UserError, match=problem):
        parse(RatingsLabel, {"rule": "ratings"} | rule, "recipes.x.split.label")


def test_items_of_one_title_are_one_if_wanted_and_counted(read) -> None:
    by_id, by_title = read(), read(item_key="title")
    assert by_id["item"].nunique() == 3
    assert merged(by_id) == 0
    assert by_title["item"].tolist() == by_title["title"].tolist()
    assert by_title["id"].tolist() == by_id["id"].tolist()
    assert merged(by_title) == 1  # items 2 and 3


def test_merged_items_are_the_rated_ones(read) -> None:
    table = read(ratings="7\t1\t3\t50\n10\t2\t5\t20\n", item_key="title")
    assert merged(table) == 0


VALID = np.array([False, False, True, True])


def test_vocabularies_number_what_has_training_ratings(read) -> None:
    vocabulary = vocabularies(read(), VALID)
    assert vocabulary == {
        "users": ["7", "10"],  # in the order of the numbers, not of the letters
        "items": ["1", "2"],
        "titles": ["Misérables, Les (1995)", '"City" of Kansas'],
    }
    by_title = vocabularies(read(item_key="title"), VALID)
    assert by_title["items"] == by_title["titles"] == ['"City" of Kansas', "Misérables, Les (1995)"]


def test_row_0_is_for_the_unknown() -> None:
    rows = numbered(pd.Series(["b", "x", "a", "b"]), ["a", "b"])
    assert rows.dtype == np.int64
    assert rows.tolist() == [2, 0, 1, 2]


def test_the_items_table_has_a_row_for_each_rating(read) -> None:
    ratings = read()
    table = items_table(ratings, VALID, vocabularies(ratings, VALID))
    assert table.to_dict("list") == {
        "user": ["7", "10", "7", "9"],
        "item": ["1", "2", "2", "3"],
        "rating": [3, 5, 1, 4],
        "timestamp": [50, 20, 30, 10],
        "user_row": [1, 2, 1, 0],
        "item_row": [1, 2, 2, 0],
        "split": ["train", "train", "valid", "valid"],
    }
    assert table[["timestamp", "user_row", "item_row"]].dtypes.tolist() == [np.int64] * 3
    assert table["rating"].dtype == np.float32


def test_without_timestamps_they_are_0(read) -> None:
    ratings = read(columns=["user", "item", "rating"])
    table = items_table(ratings, VALID, vocabularies(ratings, VALID))
    assert table["timestamp"].dtype == np.int64
    assert set(table["timestamp"]) == {0}


def test_metrics_count_unknown_users_and_items(read) -> None:
    # Held out: user 7 and item 2 are known; user 9 is not, nor its item 3; user 10 rates item 4.
    ratings = read(ratings=f"{RATINGS}10\t4\t2\t60\n9\t1\t2\t60\n", items=f"{ITEMS}4|d|x|0\n")
    valid = np.array([False, False, True, True, True, True])
    vocabulary = vocabularies(ratings, valid)
    assert ratings_metrics(items_table(ratings, valid, vocabulary), vocabulary) == {
        "ratings": 6,
        "users": 2,
        "items": 2,
        "train/ratings": 2,
        "valid/ratings": 4,
        "valid/unknown_user": 2,  # 9, twice
        "valid/unknown_item": 2,  # 3 and 4
        "valid/unknown": 3,  # 9 and 3 are in one rating
    }


def test_the_latest_ratings_are_held_out(read) -> None:
    rule = TimeSplit(rule="time", valid=0.5)
    assert held_out(read(), rule, seed=1).tolist() == [True, False, True, False]
    assert held_out(read(), rule, seed=2).tolist() == [True, False, True, False]
    # As numbers, not as words; of equal times the last in the table.
    times = "1\t1\t3\t9\n2\t1\t3\t100\n3\t1\t3\t20\n4\t1\t3\t100\n"
    assert held_out(read(ratings=times), TimeSplit(rule="time", valid=0.25), 1).tolist() == [
        False, False, False, True,
    ]  # fmt: skip


def test_a_random_split_depends_on_the_seed_alone(read) -> None:
    ratings = read(ratings="".join(f"{u}\t{1 + u % 3}\t3\t{u}\n" for u in range(200)))
    rule = RandomSplit(rule="random", valid=0.2)
    first, again, other = (held_out(ratings, rule, seed) for seed in (1, 1, 2))
    assert first.sum() == other.sum() == 40
    assert first.tolist() == again.tolist()
    assert 20 <= (first & ~other).sum() <= 40  # by chance 32 of 40


@pytest.mark.parametrize("text", ["", "a", "a\n", "\n", "ab\ncd\n\ne", "\n\nab"])
@pytest.mark.parametrize("length", [0, 1, 2, 3, 9])
def test_lines_are_those_of_the_whole_text(monkeypatch, text, length) -> None:
    monkeypatch.setattr("thaw.ratings.table.CHARACTERS_AT_ONCE", length)
    assert list(_lines_of(text)) == text.split("\n")
