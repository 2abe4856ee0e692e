import polars as pl
import pytest

from tasks.text.tokens import NUMBER, OPERATOR, SYMBOL, VARIABLE, WORD, scan


def hashes(text, symbols=False):
    return scan(pl.Series([text]), symbols).hashes.tolist()


def tokens(text, symbols=False):
    """Each token as it stands in the (folded) text."""
    found = scan(pl.Series([text]), symbols)
    return [found.text(at, at) for at in range(len(found.hashes))]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("$x^2+1$", r"\(x^{2} + 1\)"),
        (r"$\left( \dfrac{1}{2} \right)$", r"\frac{1}{2}"),
        (r"\frac{1}{2}", "1/2"),
        (r"\frac12x", r"\tfrac{1}{2} x"),
        (r"\frac mn", r"\frac{m}{n}"),
        (r"\frac\pi2", r"\frac{\pi}{2}"),
        (r"\frac{\frac{a}{b}}{c}", "a/b/c"),
        ("10,000 and 1,000,000", "$10,000$ and 1000000"),
        (r"32,\!348", "32348"),
        (r"1{,}000", "1000"),
        ("ＡＢＣ　１２", "abc 12"),
        ("3 × 4", r"$3 \cdot 4$"),
        ("x² − 1", "X^2 - 1"),
        ("x¹⁰", "x^{10}"),
        ("x**2", "x^2"),
        (r"a \leqslant b \neq c", "a ≤ b != c"),
        ("π/2 < α", r"\pi/2 \lt \alpha"),
        (r"\text{if } a", "if a"),
        (r"\begin{align*} a &= b \\ c \end{align*}", "a = b c"),
        (r"90^\circ", "90°"),
        (r"\pmod{7}", r"\bmod 7"),
        ("Let’s find\u200b it", "let's find it"),
        (r"\sqrt2", "√2"),
        (r"\$5", "5"),
        ("ÉTÉ à Ürümqi", "été À ürümqi"),
        (r"\Rightarrow ’", "⇒"),
    ],
)
def test_typesetting_makes_no_difference(one, other):
    assert hashes(one) == hashes(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("f(x+1)", "f(x)+1"),
        ("5!", "5"),
        ("x^{n+1}", "x^n+1"),
        (r"\frac{a+b}{c}", "a+b/c"),
        ("|x|", "x"),
        ("[0,1)", "(0,1]"),
    ],
)
def test_symbols_keep_what_changes_the_meaning(one, other):
    assert hashes(one, symbols=True) != hashes(other, symbols=True)


def test_symbols_of_a_group_of_one_are_left_out():
    assert hashes("x^{2}", symbols=True) == hashes("x^2", symbols=True)
    assert hashes("x^{n+1}", symbols=True) == hashes("x^(n+1)", symbols=True)


@pytest.mark.parametrize(
    ("one", "other"), [("3.5", "35"), ("x^{12}", "x^1 2"), ("ab", "a b"), ("1,00", "100"), ("<=", "<")]
)
def test_what_differs_stays_different(one, other):
    assert hashes(one) != hashes(other)


def test_a_chinese_character_is_a_word():
    assert tokens("计算：$403 \\times 2.5$") == ["计", "算", "403", r"\times", "2.5"]


def test_kinds():
    found = scan(pl.Series(["Triangle ABC has a side x = 3.5 (cm)"]), symbols=True)

    assert found.kinds.tolist() == [
        *(WORD, VARIABLE, WORD, VARIABLE, WORD, VARIABLE, OPERATOR, NUMBER),
        *(SYMBOL, WORD, SYMBOL),
    ]


def test_texts_stay_apart_and_nulls_are_empty():
    found = scan(pl.Series(["one two", None, "", "{{{", "}}", "three"]))

    assert found.rows.tolist() == [0, 2, 2, 2, 2, 2, 3]


@pytest.mark.parametrize(
    "text", ["\\", "\\frac", "\\frac{", "{" * 500 + "1" + "}" * 700, "\\begin{", "1,", "$", "x^", "\\text{"]
)
def test_what_is_broken_off_is_read_to_its_end(text):
    for symbols in (False, True):
        assert scan(pl.Series([text, "end"]), symbols).rows[-1] >= 1


def test_a_slice_of_a_column_is_read_by_itself():
    column = pl.Series(["alpha", "beta", "gamma", "delta π"])

    assert scan(column.slice(1, 2)).hashes.tolist() == hashes("beta") + hashes("gamma")
    assert scan(column.slice(3)).hashes.tolist() == hashes("delta π")


@pytest.mark.parametrize("text", ["triangle ABC", "Ann’s triangle ABC", "三角形ABC"])
def test_capitals_are_names_whatever_stands_beside_them(text):
    found = scan(pl.Series([text]))

    assert found.kinds[-1] == VARIABLE
    assert found.hashes[-1] == scan(pl.Series(["abc"])).hashes[0]
