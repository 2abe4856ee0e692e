import polars as pl
import pytest

from tasks.core.errors import LimoError
from tasks.reporting.sources import Rows, where


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "pull").mkdir()
    table = pl.DataFrame({"question_id": ["q_1", "q_2", "q_3"], "text": ["a", "b", "c"]})
    table.write_parquet(tmp_path / "pull" / "kept.parquet")
    return tmp_path


def test_only_the_rows_asked_for_are_there(folder):
    rows = Rows(folder, ["q_1", "q_3"])
    assert rows.of("pull", "kept", "q_3")["text"].to_list() == ["c"]
    assert rows.of("pull", "kept", "q_2").is_empty()


def test_a_table_that_is_not_there_has_no_rows(folder):
    assert Rows(folder, ["q_1"]).of("clean", "kept", "q_1").is_empty()
    assert where(folder / "pull" / "kept.parquet", "question_id", []).is_empty()


def test_a_table_is_read_once(folder):
    rows = Rows(folder, ["q_1"])
    before = rows.of("pull", "kept", "q_1")
    (folder / "pull" / "kept.parquet").write_bytes(b"torn")
    assert rows.of("pull", "kept", "q_1").equals(before)


def test_a_torn_table_is_one_clear_line(folder):
    path = folder / "pull" / "kept.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(LimoError, match=r"pull/kept.parquet: cannot be searched \(.+\); delete it and rerun"):
        Rows(folder, ["q_1"]).of("pull", "kept", "q_1")


def test_a_table_without_the_column_is_one_clear_line(folder):
    path = folder / "pull" / "kept.parquet"
    pl.DataFrame({"other": ["x"]}).write_parquet(path)
    with pytest.raises(LimoError, match=r"pull/kept.parquet: cannot be searched \(.*question_id"):
        where(path, "question_id", ["q_1"])
