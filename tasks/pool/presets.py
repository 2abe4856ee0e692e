"""The ten benchmarks of the paper: where to get them, and how to read them.

Repositories, revisions, file names and columns are as public code cites them; none could be fetched when this was
written, so a mistake shows as "no file matches" or "no column", never as wrong questions. The paper's own copies of
CHMath, Gaokao, Kaoyan and GradeSchool lie in github.com/GAIR-NLP/LIMO under eval/data and are on no hub: give their
`path`. A `path` (or another source) given beside a preset replaces its hub files and keeps its reading.
"""

from typing import Any

PRESETS: dict[str, dict[str, Any]] = {
    "AIME24": {
        "hub": {
            "repo": "HuggingFaceH4/aime_2024",
            "revision": "2fe88a2f1091d5048c0f36abc874fb997b3dd99a",
            "file": "data/train-00000-of-00001.parquet",
        },
    },
    "MATH500": {
        "hub": {
            "repo": "HuggingFaceH4/MATH-500",
            "revision": "6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be",
            "file": "test.jsonl",
        },
    },
    "AMC23": {
        "hub": {
            "repo": "math-ai/amc23",
            "revision": "80815d37005feb82cd7f8fbc6901d5d3eff43057",
            "file": "test-00000-of-00001.parquet",
        },
    },
    # 674 rows there; the paper's copy has 675.
    "OlympiadBench": {
        "hub": {
            "repo": "Hothan/OlympiadBench",
            "revision": "91184b52131e7fc9455fef848035173aea8cc01a",
            "file": "OlympiadBench/OE_TO_maths_en_COMP/OE_TO_maths_en_COMP.parquet",
        },
    },
    "Minerva": {
        "hub": {
            "repo": "math-ai/minervamath",
            "revision": "ee46ddc498933b1977577953250ca5c66be64f96",
            "file": "test.jsonl",
        },
    },
    # Gated: accept its terms on the hub, and set HF_TOKEN.
    "GPQA": {
        "hub": {
            "repo": "Idavidrein/gpqa",
            "revision": "633f5ee89ab8ad4522a9f850766b73f62147ffdd",
            "file": "gpqa_diamond.csv",
        },
        "kind": "choice",
        "fields": {
            "question": "Question",
            "answer": "Correct Answer",
            "distractors": ["Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3"],
        },
    },
    "CHMath": {},
    # A third of it has no options: there `choice_answer` is empty and `answer` counts.
    "Gaokao": {"language": "zh", "fields": {"choice": "choice_answer"}},
    "Kaoyan": {"language": "zh"},
    "GradeSchool": {"language": "zh"},
}
