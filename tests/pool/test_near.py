from tasks.pool.near import jaccard, near_duplicates, shingles

LONG = "a bug starts from a vertex of a regular tetrahedron and crawls along an edge to the other end every minute"


def test_a_changed_word_is_near_and_another_text_is_not():
    texts = [
        LONG,
        LONG.replace("minute", "hour"),
        "ten people sit down at a round table and shake hands with each other",
    ]

    (near,) = near_duplicates(texts, [1, 1, 1], shingle=3, threshold=0.8)

    assert (near.later, near.kept) == (1, 0)
    assert near.similarity == jaccard(shingles(texts[0], 3), shingles(texts[1], 3)) == 18 / 20


def test_blocks_are_never_compared():
    assert near_duplicates([LONG, LONG], [1, 2], shingle=3, threshold=0.8) == []


def test_a_dropped_text_drops_no_other():
    words = LONG.split(" ")
    chain = [" ".join([*words[: len(words) - step], *["x", "y", "z"][:step]]) for step in (0, 1, 2)]
    assert jaccard(shingles(chain[0], 3), shingles(chain[2], 3)) < 0.85

    found = near_duplicates(chain, [1, 1, 1], shingle=3, threshold=0.85)

    assert [(near.later, near.kept) for near in found] == [(1, 0)]


def test_short_texts_are_one_shingle():
    assert shingles("a b", 3) == {"a b"}
    assert near_duplicates([], [], 3, 0.8) == []
