import polars as pl
import pytest

from tasks.core.errors import LimoError
from tasks.core.files import publish, read_json, read_table

SCHEMA = {"a": pl.String, "n": pl.Int64}


def test_published_files_appear_only_after_the_block(tmp_path):
    with publish(tmp_path / "out") as part:
        (part / "kept.parquet").write_text("x")
        assert not (tmp_path / "out" / "kept.parquet").exists()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["kept.parquet"]


def test_a_failing_block_leaves_what_was_there(tmp_path):
    out = tmp_path / "out"
    with publish(out) as part:
        (part / "kept.parquet").write_text("old")
    with pytest.raises(RuntimeError), publish(out) as part:
        (part / "kept.parquet").write_text("new")
        raise RuntimeError
    assert (out / "kept.parquet").read_text() == "old"
    assert [path.name for path in out.iterdir()] == ["kept.parquet"]


def test_a_first_run_that_fails_leaves_no_folder(tmp_path):
    with pytest.raises(RuntimeError), publish(tmp_path / "out"):
        raise RuntimeError
    assert not (tmp_path / "out").exists()


def test_a_folder_is_replaced_whole(tmp_path):
    out = tmp_path / "out"
    for name in ("a", "b"):
        with publish(out) as part:
            (part / "model").mkdir()
            (part / "model" / name).write_text(name)
    assert [path.name for path in (out / "model").iterdir()] == ["b"]


def test_a_table_comes_with_the_columns_asked_for(tmp_path):
    pl.DataFrame({"a": ["x"], "n": [1], "more": [2.0]}).write_parquet(tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet", SCHEMA).columns == ["a", "n"]


def test_wrong_columns_are_all_named(tmp_path):
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "t.parquet")
    with pytest.raises(LimoError, match="a Int64, not String; n missing, not Int64"):
        read_table(tmp_path / "t.parquet", SCHEMA)


def test_a_torn_or_missing_table_is_one_line(tmp_path):
    (tmp_path / "t.parquet").write_bytes(b"PAR1 torn")
    with pytest.raises(LimoError, match="not a readable Parquet file"):
        read_table(tmp_path / "t.parquet", SCHEMA)
    with pytest.raises(LimoError, match="no such file"):
        read_table(tmp_path / "other.parquet", SCHEMA)


def test_broken_json_names_the_line(tmp_path):
    (tmp_path / "m.json").write_text('{\n"a": }')
    with pytest.raises(LimoError, match="line 2, column 6"):
        read_json(tmp_path / "m.json")
