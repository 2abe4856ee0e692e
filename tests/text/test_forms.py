import polars as pl
import pytest

from tasks.text.duplicates import forms, without_heading


def test_forms_and_numbers():
    table = forms(
        pl.Series(["What is $x+3$?", "what is  x + 3", "What is x + 4?", "What is y?", "?", "4 or 3", "3 or 4"])
    )

    form, numbers = table["form"].to_list(), table["numbers"].to_list()
    assert form[0] == form[1] != form[2]
    assert numbers[0] == numbers[1] != numbers[2]
    assert numbers[3] == 0
    assert (form[4], numbers[4]) == (0, 0)
    assert numbers[5] != numbers[6]


@pytest.mark.parametrize(
    "heading",
    ["Example 5. ", "Problem 12: ", "3. ", "12.4. ", "(7) ", "[7] ", "例3 ", "3. (10 points) ", "Task №2. ", "5、"],
)
def test_headings_go(heading):
    assert without_heading(pl.Series([f"{heading}Find all x."]))[0] == "Find all x."


@pytest.mark.parametrize("text", ["3 + 4 is what?", "12.5 kg of sand", "2x = 4, find x", "5.", "7 people sit", "(3)"])
def test_what_belongs_to_the_question_stays(text):
    assert without_heading(pl.Series([text]))[0] == text
