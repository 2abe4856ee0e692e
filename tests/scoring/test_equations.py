import pytest

from tasks.scoring.chains import right_equations


@pytest.mark.parametrize(
    ("text", "modulus", "expected"),
    [
        ("", None, 0),
        ("47+8=55, 55*3=165", None, 2),
        ("47+8=55, 55*3=65", 100, 2),
        ("47+8=55, 55*3=65", None, 1),
        ("03-8=95", 100, 1),
        ("47 + 8 = 56. Check again: 47+8=56, yes.", 100, 0),
        ("6×7=42 and 6*7=42", None, 2),
        ("1.5+2=3.5", None, 0),
        ("47 plus 8 is 55", None, 0),
        ("9" * 50 + "+1=0", None, 0),
    ],
)
def test_right_equations_are_counted(text, modulus, expected):
    assert right_equations(text, modulus) == expected
