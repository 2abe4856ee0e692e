import shutil

import polars as pl
import pytest

from flows.explain.question import (
    Rows,
    Step,
    explain,
    find_question,
    in_short,
    in_words,
    parse_evidence,
    question_history,
    question_row,
    search,
)
from tasks.core.errors import LimoError
from tests.artifacts import write_run
from tests.builders import forget


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("artifacts"))


@pytest.fixture
def changed(artifacts, tmp_path):
    return shutil.copytree(artifacts, tmp_path / "artifacts")


def first(artifacts, path, **where):
    return pl.read_parquet(artifacts / path).filter(**where)["question_id"][0]


def test_the_question_is_on_top_with_all_that_is_known_of_it(artifacts):
    question = first(artifacts, "clean/kept.parquet")
    lines = explain(artifacts, [question]).splitlines()
    assert lines[:8] == [
        f"question  {question} · made · made:0",
        "license   cc0-1.0",
        "language  en",
        "domain    d0",
        "level     1",
        "answer    0",
        "text",
        "    What is 0 + 0?",
    ]


def test_a_duplicate_shows_the_kept_one_what_differs_and_the_rest_of_its_cluster(artifacts):
    question = first(artifacts, "clean/rejected.parquet", reason="near_duplicate")
    kept = first(artifacts, "clean/clusters.parquet", cluster_id="k_1", form="representative")
    shown = explain(artifacts, [question])
    assert f"near duplicate of {kept}, similarity 0.840 (cluster k_1)" in shown
    assert "  the earlier one: made · made:1\n    What is 1 + 0?\n" in shown
    assert "    [-What-] {+So what+} is 1 + 0 {+then+}?\n" in shown
    assert "answers: 1 there, 1 here: the same" in shown
    others = shown.split("others in the cluster")[1]
    assert "near  0.840       2       DISAGREES" in others
    assert question not in others


def test_a_duplicate_is_compared_with_the_one_that_it_was_found_like(changed):
    """In a chain of near duplicates that is not the first of the cluster."""
    path = changed / "clean" / "rejected.parquet"
    near = first(changed, "clean/rejected.parquet", reason="near_duplicate")
    third = first(changed, "clean/rejected.parquet", reason="answers_disagree")
    like = pl.lit(f'{{"question_id": "{third}", "similarity": 0.84, "cluster_id": "k_1"}}')
    evidence = pl.when(pl.col("question_id") == near).then(like).otherwise("evidence")
    pl.read_parquet(path).with_columns(evidence=evidence).write_parquet(path)
    shown = explain(changed, [near])
    assert f"near duplicate of {third}, similarity 0.840 (cluster k_1)" in shown
    assert "So what is 1 + 0 {+then+}?" in shown
    assert "answers: 2 there, 1 here: THEY DISAGREE" in shown
    assert "representative  1.000       1" in shown.split("others in the cluster")[1]


def test_answers_that_agree_though_written_otherwise_are_no_disagreement(changed):
    path = changed / "pull" / "kept.parquet"
    table = pl.read_parquet(path)
    near = first(changed, "clean/rejected.parquet", reason="near_duplicate")
    answer = pl.when(pl.col("question_id") == near).then(pl.lit("1.0")).otherwise("answer")
    table.with_columns(answer=answer).write_parquet(path)
    assert "answers: 1 there, 1.0 here: the same, written otherwise" in explain(changed, [near])


def test_an_answer_that_disagrees_is_flagged_also_on_a_question_that_was_kept(artifacts):
    shown = explain(artifacts, [first(artifacts, "clean/clusters.parquet", cluster_id="k_4", form="near")])
    assert "What is [-4-] {+5+} + 0?" in shown
    assert "answers: 4 there, 5 here: THEY DISAGREE" in shown
    assert "clean          kept      flagged: q_" in shown


def test_the_kept_one_of_a_cluster_lists_its_members(artifacts):
    kept = first(artifacts, "clean/clusters.parquet", cluster_id="k_1", form="representative")
    shown = explain(artifacts, [kept])
    assert "3 duplicates, of which this one is the first (cluster k_1)" in shown
    assert f"{kept} (this one)  representative" in shown


def test_a_contaminated_question_shows_every_hit_with_the_item_and_the_rule_that_drops(artifacts):
    shown = explain(artifacts, [first(artifacts, "decontaminate/rejected.parquet")])
    hits = pl.read_parquet(artifacts / "decontaminate" / "hits.parquet")["item_id"]
    dropping, reporting = shown.split("overlaps benchmark ")[1:]
    assert dropping.splitlines() == [
        "sums",
        "  rule ngram drops it (share 0.800): in common, as written here",
        "    What is 3 + 0",
        f"  the item: {hits[0]} · gold 4 · sums:3",
        "    sums: «what is $3 + 0»$, and 1 more?",
    ]
    assert "rule containment only reports it (share 0.500)" in reporting
    assert f"the item: {hits[1]} · gold 4 · aime24:3" in reporting
    assert "decontaminate  rejected  benchmark_overlap: overlaps a benchmark item" in shown


def test_rules_that_found_the_same_item_are_shown_together(changed):
    path = changed / "decontaminate" / "hits.parquet"
    hits = pl.read_parquet(path)
    same = hits.head(1).with_columns(rule=pl.lit("whole"), share=pl.lit(1.0))
    more = hits.head(1).with_columns(rule=pl.lit("numbers"), match=pl.lit("more?"), share=pl.lit(0.1))
    pl.concat([hits, same, more]).write_parquet(path)
    shown = explain(changed, [hits["question_id"][0]])
    assert "rule ngram drops it (share 0.800), rule whole drops it (share 1.000): in common" in shown
    assert shown.count("    What is 3 + 0\n") == 1
    assert shown.count("    sums: «what is $3 + 0»$, and 1 «more?»\n") == 1


def test_a_hit_that_only_reports_is_shown_of_a_kept_question(artifacts):
    question = first(artifacts, "decontaminate/hits.parquet", rule="containment", share=0.4)
    shown = explain(artifacts, [question])
    assert "decontaminate  kept" in shown
    assert "rule containment only reports it" in shown


def test_what_the_weak_model_answered_is_shown(artifacts):
    shown = explain(artifacts, [first(artifacts, "screen/rejected.parquet")])
    assert "screen: 1 response of m_base" in shown
    assert "       0  correct  1              20  stop   r_" in shown
    assert "band" not in shown


def test_a_leaked_chain_shows_the_benchmark_item_in_it(artifacts):
    question = first(artifacts, "select/leaks.parquet")
    chain = pl.read_parquet(artifacts / "select" / "leaks.parquet")["chain_id"][0]
    shown = explain(artifacts, [question])
    assert f"overlaps benchmark aime24, in chain {chain}\n  rule ngram drops it (share 0.750)" in shown
    assert "aime24: «add 0 and 1»" in shown
    quality = pl.read_parquet(artifacts / "select" / "rejected.parquet").filter(chain_id=chain)["quality"][0]
    assert f"{quality:.3f}    benchmark_leak" in shown


def test_a_trained_question_ends_with_its_chains(artifacts):
    shown = explain(artifacts, [first(artifacts, "select/kept.parquet", rank=1)])
    assert "train          kept" in shown
    assert "rank 1" in shown.split("reason: right chains")[1]
    assert "reason: rejected responses" in shown


def test_only_pull_has_run(changed):
    for stage in ("clean", "decontaminate", "screen", "band", "reason", "score", "select", "train", "benchmarks"):
        forget(changed, stage)
    shown = explain(changed, [first(changed, "pull/kept.parquet")])
    assert "pull           kept" in shown
    assert shown.count("not run") == 8


def test_a_long_question_is_cut_beyond_two_thousand_characters(changed):
    path = changed / "pull" / "kept.parquet"
    table = pl.read_parquet(path)
    table.with_columns(question=pl.lit("y" * 2_500)).write_parquet(path)
    shown = explain(changed, [table["question_id"][0]])
    assert "    " + "y" * 2_000 + "\n    … 500 more characters" in shown


def test_nothing_that_a_terminal_would_obey_is_printed(changed):
    hostile = pl.lit("\x1b[2J\x07 7\u202e")
    for name, columns in {
        "pull/kept": ["question", "answer", "origin"],
        "clean/clusters": ["answer"],
        "decontaminate/hits": ["match"],
        "benchmarks/items": ["question", "gold", "origin"],
    }.items():
        path = changed / f"{name}.parquet"
        pl.read_parquet(path).with_columns(**dict.fromkeys(columns, hostile)).write_parquet(path)
    for path in ("clean/clusters.parquet", "decontaminate/hits.parquet"):
        questions = pl.read_parquet(changed / path)["question_id"].to_list()
        shown = explain(changed, questions)
        assert "[2J 7" in shown
        assert all(char.isprintable() or char == "\n" for char in shown)


def test_several_questions_are_explained_one_after_the_other_and_each_once(artifacts):
    two = pl.read_parquet(artifacts / "pull" / "kept.parquet")["question_id"].to_list()[:2]
    shown = explain(artifacts, [two[0], two[1][:15], two[0]])
    assert [line.split()[1] for line in shown.splitlines() if line.startswith("question ")] == two


def test_an_id_that_is_nowhere_is_one_line(artifacts):
    known = first(artifacts, "pull/kept.parquet")
    with pytest.raises(LimoError, match="'q_nowhere': no question in"):
        explain(artifacts, [known, "q_nowhere"])


def test_words_find_the_questions_that_contain_them_with_their_history(artifacts):
    lines = search(artifacts, "WHAT IS 1 +").splitlines()
    assert len(lines) == 2 + 3
    assert "made    rejected by select: below_cut        What is 1 + 0?" in lines[2]
    assert "other   rejected by clean: near_duplicate    So what is 1 + 0 then?" in lines[3]


def test_words_are_taken_literally(artifacts):
    assert "What is $0 + 0$?" in search(artifacts, "$0 + 0$?")
    with pytest.raises(LimoError, match=r"no question in .*pull contains 'is \.\+ 0'"):
        search(artifacts, "is .+ 0")


def test_no_more_than_twenty_are_listed_and_it_says_so(artifacts):
    lines = search(artifacts, "what is").splitlines()
    assert len(lines) == 2 + 20 + 2
    assert lines[-1] == "The first 20; give more of the text to see others."
    assert "trained on" in "\n".join(lines)


def test_the_place_found_is_shown_of_a_long_question(changed):
    path = changed / "pull" / "kept.parquet"
    table = pl.read_parquet(path)
    table.with_columns(question=pl.lit("x " * 300 + "needle " + "y " * 300)).write_parquet(path)
    line = search(changed, "needle").splitlines()[2]
    assert "…x x" in line
    assert "needle y" in line
    assert len(line) < 200


def test_nothing_is_searched_before_pull(tmp_path):
    with pytest.raises(LimoError, match="pull: nothing there yet"):
        search(tmp_path, "x")


def outcomes(artifacts, path, **where):
    question = pl.read_parquet(artifacts / path).filter(**where)["question_id"][0]
    return {step.stage: (step.outcome, step.why) for step in question_history(Rows(artifacts, [question]), question)}


def test_the_history_ends_at_the_stage_that_rejected_the_question(artifacts):
    history = outcomes(artifacts, "screen/rejected.parquet")
    assert list(history) == ["pull", "clean", "decontaminate", "screen"]
    solved = pl.read_parquet(artifacts / "screen/rejected.parquet")["evidence"][0]
    assert solved.startswith("r_")
    assert history["screen"] == (
        "rejected",
        f"solved_by_weak_model: too easy: the weak model solves it; {solved}; 1 of 1 response right",
    )


def test_a_selected_question_goes_through_to_training(artifacts):
    history = outcomes(artifacts, "select/kept.parquet", rank=1)
    assert list(history)[-4:] == ["reason", "score", "select", "train"]
    assert history["reason"] == ("kept", "2 right chains of 3 responses")
    assert history["train"][0] == "kept"


def test_a_question_below_the_cut_says_so(artifacts):
    history = outcomes(artifacts, "select/rejected.parquet", reason="below_cut")
    assert history["select"][0] == "rejected"
    assert history["select"][1].startswith("below_cut: good, but below the cut at `select.count`; place")
    assert "train" not in history


def test_a_question_of_another_run_is_refused(artifacts):
    with pytest.raises(LimoError, match="q_other: not in"):
        question_row(Rows(artifacts, ["q_other"]), "q_other")


def test_a_row_that_the_source_has_twice_is_kept_once_and_says_so(artifacts):
    history = outcomes(artifacts, "pull/rejected.parquet", reason="repeated_row")
    assert history["pull"] == ("kept", "1 further row of the same text rejected")
    assert history["clean"][0] == "rejected"


def test_a_kept_question_whose_answer_disagrees_is_flagged(artifacts):
    history = outcomes(artifacts, "clean/clusters.parquet", cluster_id="k_4", agrees=False)
    assert history["clean"][0] == "kept"
    assert "is a near duplicate with another answer" in history["clean"][1]


def test_evidence_in_json_is_shown_in_short(artifacts):
    history = outcomes(artifacts, "decontaminate/rejected.parquet")
    item = pl.read_parquet(artifacts / "decontaminate" / "hits.parquet")["item_id"][0]
    assert history["decontaminate"][1] == (
        f"benchmark_overlap: overlaps a benchmark item; sums, {item}, rule ngram, share 0.8"
    )


def test_a_chain_left_out_of_training_says_why(artifacts, tmp_path):
    changed = shutil.copytree(artifacts, tmp_path / "artifacts")
    sample = pl.read_parquet(changed / "select" / "kept.parquet").head(1)
    left_out = sample.with_columns(reason=pl.lit("too_long"), evidence=pl.lit("900 tokens"))
    left_out.write_parquet(changed / "train" / "rejected.parquet")
    history = outcomes(changed, "select/kept.parquet", rank=1)
    assert history["train"] == ("rejected", "too_long: has more tokens than training takes; 900 tokens")


@pytest.mark.parametrize(
    ("gone", "last"), [("decontaminate", "clean"), ("screen", "decontaminate"), ("reason", "band"), ("select", "score")]
)
def test_stages_that_have_not_run_are_shown_as_such(artifacts, tmp_path, gone, last):
    part = shutil.copytree(artifacts, tmp_path / "artifacts")
    question = pl.read_parquet(artifacts / "select" / "kept.parquet")["question_id"][0]
    stages = ["pull", "clean", "decontaminate", "screen", "band", "reason", "score", "select", "train"]
    for stage in stages[stages.index(gone) :]:
        forget(part, stage)
    history = question_history(Rows(part, [question]), question)
    assert [step.stage for step in history] == stages
    assert [step.stage for step in history if step.outcome == "kept"][-1] == last
    assert history[stages.index(gone) :] == [Step(stage, "not run", "") for stage in stages[stages.index(gone) :]]


def test_a_stage_that_ran_on_other_questions_says_so_and_ends_the_history(artifacts, tmp_path):
    stale = shutil.copytree(artifacts, tmp_path / "artifacts")
    question = pl.read_parquet(artifacts / "select" / "kept.parquet")["question_id"][0]
    for name in ("kept", "rejected"):
        path = stale / "screen" / f"{name}.parquet"
        pl.read_parquet(path).filter(pl.col("question_id") != question).write_parquet(path)
    last = question_history(Rows(stale, [question]), question)[-1]
    assert last == Step("screen", "not seen", "it ran on other questions; `dvc repro screen` brings it up to date")


def test_an_id_is_found_by_its_beginning(artifacts):
    question = pl.read_parquet(artifacts / "pull" / "kept.parquet")["question_id"][0]
    assert find_question(artifacts, question) == find_question(artifacts, question[:14]) == question


@pytest.mark.parametrize(
    ("prefix", "said"),
    [
        ("q_", r"'q_': several questions have an id that begins so, such as q_\w+, q_\w+, .*; give more of it"),
        ("q_zz", r"'q_zz': no question in .*pull has an id that begins so$"),
        ("c_1", r"'c_1': no question in .* begins so; `limo trace` explains chains"),
    ],
)
def test_an_id_that_is_no_questions_is_one_clear_line(artifacts, prefix, said):
    with pytest.raises(LimoError, match=said):
        find_question(artifacts, prefix)


def test_before_pull_no_question_is_found(tmp_path):
    with pytest.raises(LimoError, match="pull: nothing there yet; `dvc repro pull`"):
        find_question(tmp_path, "q_1")


def test_a_reason_is_shown_with_its_words_and_one_without_by_its_name():
    assert in_words("needs_image", {"needs_image": "needs an image"}) == "needs_image: needs an image"
    assert in_words("of_my_own", {}) == "of_my_own"


@pytest.mark.parametrize(
    ("evidence", "short"),
    [
        ('{"question_id": "q_1", "similarity": 0.93, "cluster_id": "k_1"}', "q_1, similarity 0.93, k_1"),
        ('{"benchmark": "math500", "item_id": "b_1", "rule": "whole", "match": "long"}', "math500, b_1, rule whole"),
        ('{"question_id": null, "similarity": 0.0, "cluster_id": "k_1"}', "similarity 0.0, k_1"),
        ("file.jsonl:3", "file.jsonl:3"),
        ("{x in a set}", "{x in a set}"),
        (None, ""),
    ],
)
def test_evidence_in_short(evidence, short):
    assert in_short(evidence) == short


def test_evidence_that_is_no_object_has_no_entries():
    assert parse_evidence("[1]") == parse_evidence("{torn") == parse_evidence(None) == {}


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
    assert Rows(folder, []).of("pull", "kept", "q_1").is_empty()


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
        Rows(folder, ["q_1"]).of("pull", "kept", "q_1")
