import itertools

import polars as pl
import pytest

from tasks.core import tables
from tasks.core.errors import LimoError
from tasks.core.files import read_json
from tasks.core.filter import FilterWriter
from tasks.core.stage import Stage
from tasks.core.tables import TableWriter, read_group, row_groups

SCHEMA = {"source": pl.String(), "number": pl.Int64()}


def rows(start, stop):
    return pl.DataFrame({"source": ["a"] * (stop - start), "number": range(start, stop)}, schema=SCHEMA)


@pytest.mark.parametrize("cuts", [(0, 100), (0, 1, 7, 7, 50, 100), (0, 99, 100)])
def test_a_file_does_not_depend_on_the_parts_its_rows_came_in(tmp_path, cuts):
    writer = TableWriter(tmp_path / "t.parquet", SCHEMA, row_group=16)
    for start, stop in itertools.pairwise(cuts):
        writer.add(rows(start, stop))
    writer.close()
    whole = TableWriter(tmp_path / "whole.parquet", SCHEMA, row_group=16)
    whole.add(rows(0, 100))
    whole.close()

    assert writer.height == 100
    assert (tmp_path / "t.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    groups = [read_group(shard.input) for shard in row_groups(tmp_path / "t.parquet", SCHEMA)]
    assert [group.height for group in groups] == [16] * 6 + [4]
    assert pl.concat(groups).equals(rows(0, 100))


STAGE = Stage("pull", "questions", {"short": "too short"})


def test_an_empty_table_has_its_columns(tmp_path):
    TableWriter(tmp_path / "t.parquet", SCHEMA).close()

    assert pl.read_parquet(tmp_path / "t.parquet").schema == SCHEMA
    with pytest.raises(LimoError, match=r"t.parquet: has no rows"):
        row_groups(tmp_path / "t.parquet", SCHEMA)


def test_a_filter_counts_per_source_and_reason(tmp_path):
    writer = FilterWriter(tmp_path, STAGE, SCHEMA)
    for reason in (None, "short", None):
        writer.add(rows(0, 3).with_columns(reason=pl.lit(reason, pl.String), evidence=pl.lit("because", pl.String)))
    writer.close({"more": 1})

    manifest = read_json(tmp_path / "manifest.json")
    assert manifest["facts"] == {"sources": {"a": {"kept": 6, "short": 3}}, "more": 1}
    assert (manifest["taken"], manifest["kept"], manifest["rejected"]) == (9, 6, {"short": 3})
    assert pl.read_parquet(tmp_path / "rejected.parquet")["evidence"].to_list() == ["because"] * 3


def test_nothing_kept_is_one_line(tmp_path):
    writer = FilterWriter(tmp_path, STAGE, SCHEMA)
    writer.add(rows(0, 3).with_columns(reason=pl.lit("short"), evidence=pl.lit(None, pl.String)))

    with pytest.raises(LimoError, match=r"pull: no row is left of 3 \(3 short\); loosen the section `pull` of params"):
        writer.close({})


def test_a_full_disk_is_one_line(tmp_path):
    (tmp_path / "t.parquet").symlink_to("/dev/full")

    with pytest.raises(LimoError, match=r"t.parquet: no space left on the device; free some and run again"):
        writer = TableWriter(tmp_path / "t.parquet", SCHEMA, row_group=1000)
        for start in range(0, 1_000_000, 1000):
            writer.add(rows(start, start + 1000))
        writer.close()


def test_the_row_group_of_written_tables_is_fixed():
    assert tables.ROW_GROUP == 65_536


def test_a_table_torn_in_its_middle_is_one_line(tmp_path):
    table = pl.DataFrame({"source": [f"{number**3}" for number in range(5000)], "number": range(5000)}, schema=SCHEMA)
    table.write_parquet(tmp_path / "t.parquet")
    whole = bytearray((tmp_path / "t.parquet").read_bytes())
    whole[100:5000] = bytes(4900)
    (tmp_path / "t.parquet").write_bytes(whole)

    with pytest.raises(LimoError, match=r"t.parquet: torn"):
        [read_group(shard.input) for shard in row_groups(tmp_path / "t.parquet", SCHEMA)]


@pytest.mark.parametrize("cuts", [(0, 40), (0, 3, 17, 40)])
def test_a_row_group_is_closed_by_its_text_too(tmp_path, monkeypatch, cuts):
    monkeypatch.setattr(tables, "GROUP_BYTES", 100)
    schema = {"question": pl.String()}
    texts = pl.DataFrame({"question": ["x" * 30] * 20 + ["y" * 300] * 2 + ["z"] * 18}, schema=schema)
    writer = TableWriter(tmp_path / "t.parquet", schema, row_group=16)
    for start, stop in itertools.pairwise(cuts):
        writer.add(texts[start:stop])
    writer.close()

    groups = [read_group(shard.input).height for shard in row_groups(tmp_path / "t.parquet", schema)]
    assert groups == [4] * 5 + [1, 1, 16, 2]
    assert pl.read_parquet(tmp_path / "t.parquet").equals(texts)
