import time

import pytest

from tasks.grading.extract import extract
from tasks.grading.rules import Rules

FOUND = [
    (r"So $\boxed{42}$.", "42"),
    (r"\boxed{1} then \boxed{2}", "2"),
    (r"\boxed{\frac{1}{\sqrt{2}}}", r"\frac{1}{\sqrt{2}}"),
    (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
    (r"\boxed{\left\{ x \mid x>0 \right.}", r"\left\{ x \mid x>0 \right."),
    (r"\fbox{7}", "7"),
    (r"\boxed{\fbox{7}}", "7"),
    (r"\boxed {7}", "7"),
    (r"$\boxed 7$", "7"),
    (r"\boxed{ 7 }", "7"),
    (r"<think>maybe \boxed{1}</think> It is \boxed{2}.", "2"),
    (r"maybe \boxed{1}</think> It is \boxed{2}.", "2"),
    ("Natalia sold 72 clips.\n#### 72", "72"),
    ("The answer is 42.", "42"),
    ("So the final answer is $\\frac{1}{2}$. I hope it is correct.", "\\frac{1}{2}"),
    ("The answer is 3.5", "3.5"),
    ("**Answer:** 12", "12"),
    ("**Answer**: 12\nDone", "12"),
    ("Final Answer: **17**", "17"),
    ("所以答案是12。", "12"),
    ("答案：$\\sqrt{2}$", "\\sqrt{2}"),
    (r"The answer is 3, that is \boxed{4}", "4"),
    (r"The roots are $\boxed{2}$ and $\boxed{3}$.", "2, 3"),
    (r"Therefore $x = \boxed{\frac12}$ or $x_2 = \boxed{-2}$.", r"\frac12, -2"),
    (r"First $x = \boxed{5}$, so that $2y + x = \boxed{7}$.", "7"),
    (r"(a) \boxed{2} (b) \boxed{3}", "3"),
    ("\\boxed{7}\n\nWait. Final Answer: 8", "8"),
    ("\\boxed{3x+2}. The final answer is 3x + 2.", "3x+2"),
    ("The final answer is $3$ or $4$.", "3, 4"),
    ("Final Answer: The volume of $ABCD$ is 120. I hope it is correct.", "120"),
    ("Therefore, there are 12 sequences that meet the three conditions.", "12"),
    ("So the pair is \\((7, 6)\\). <|im_end|>", "(7, 6)"),
    ("因此一共有12个。", "12"),
    ("The train arrives at 10:15 AM.", "10:15 AM"),
    ("So he pays $36 in total.", "36"),
    ("Therefore there are 5 in the room.", "5"),
    ("**The ratio is 5 to 3**", "The ratio is 5 to 3"),
    ("Format: <answer>your answer</answer>\n\nThe answer is 5", "5"),
    ("<answer>X</answer>.\n#### 42", "42"),
    ("<answer>1; 2</answer>", "1; 2"),
    ("Therefore $m = 3$, $n = 4$, and $m + n = 7$.", "m + n = 7"),
    ("The answer is **$18**.", "$18"),
    ("The answer is $18 because she sells 9 eggs for $2 each.", "$18"),
    ("Answer: $18\n\nShe sells 9 eggs at $2.", "$18"),
    ("The answer is $18 per day. She is happy.", "$18"),
    ("The answer is $x + 1$ or so.", "x + 1"),
    ("**The percentage is 60%.**", "60%"),
    ("So the two numbers are 4 and 5.", "4, 5"),
    ("Therefore x = 5 and y = 6.", "5, 6"),
    ("So the sum of 2 and 3 is 5.", "5"),
    ("The solution is (x, y) = (4, 1).", "(4, 1)"),
    ("So x ∈ {π/4, 5π/4}.", "{π/4, 5π/4}"),
    ("So the work done is 30 joules.", "30 joules"),
    ("答：一共需要6分钟。", "6 分钟"),
    ("It is a parabola.", "parabola"),
    ("所以p是q的必要不充分条件。", "必要不充分条件"),
    ("<think>6?</think> <answer>1024</answer>", "1024"),
    (r"<answer>5</answer> or rather <answer>the answer is $\frac{1}{2}$</answer>", r"\frac{1}{2}"),
    (r"<answer>So it is $\boxed{7}$.</answer>", "7"),
]
MISSING = [
    ("", "no_answer"),
    ("I do not know. Perhaps 42", "no_answer"),
    ("So it is certainly not 42.", "no_answer"),
    ("The result could be 41, 42 or 43.", "no_answer"),
    ("Thus y = 2x + 1", "no_answer"),
    ("Let $x = 3$.", "no_answer"),
    (r"\boxed{1} and then \boxed{2", "unterminated_box"),
    (r"\boxed{}", "empty_box"),
    (r"\boxed", "empty_box"),
    (r"<think>maybe \boxed{1} or", "unfinished_reasoning"),
    (r"maybe \boxed{1}</think> hm", "no_answer"),
    ("So the claim is false. That is correct.", "no_answer"),
]


@pytest.mark.parametrize(("response", "answer"), FOUND)
def test_finds_the_final_answer(response, answer):
    assert extract(response).answer == answer


@pytest.mark.parametrize(("response", "reason"), MISSING)
def test_says_why_there_is_no_answer(response, reason):
    assert extract(response) == (None, reason)


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("\\boxed{6}. A common wrong final answer is 5.", "6"),
        ("\\boxed{6}. But if the final answer is 5 then it fails.", "6"),
        ("\\boxed{6}. Correcting a slip: 5+2. The final answer is 7.", "7"),
        ("#### Step 2: solve\nx = 5.\n\nThe answer is 5.", "5"),
        ("#### 72\nThat is all.", "72"),
        ("so 3 + 4\n#### 7", "7"),
        ("故选择C", "C"),
        ("\\boxed{}\\boxed{5}", "5"),
    ],
)
def test_headings_afterthoughts_and_empty_boxes_are_no_answers(response, answer):
    assert extract(response).answer == answer


@pytest.mark.parametrize(
    "response", ["well <think>maybe \\boxed{5}", "<think>a</think> \\boxed{6} <think>perhaps \\boxed{5}"]
)
def test_reasoning_that_was_begun_again_is_unfinished(response):
    assert extract(response).reason == "unfinished_reasoning"


def test_a_bare_letter_or_bold_words_on_the_last_line_count_where_the_rules_allow_it():
    for text in ("It must be so.\n**(C)**\n", "It must be so.\nOption C.", "So\n选C"):
        assert extract(text).answer == "C"
    assert extract("It is **12** and\nso we get **42**.").answer == "42"
    assert extract("We get **42**.\nWhich is it.").answer is None
    boxes_only = Rules(extraction=("box",))
    assert extract("It must be so.\n**(C)**\n", boxes_only).reason == "no_answer"
    assert extract("The answer is 4. #### 4", boxes_only).reason == "no_answer"


@pytest.mark.parametrize(
    "response",
    [
        "\\boxed{" * 100_000,
        "\\boxed{" + "{" * 500_000,
        "answer is" * 100_000,
        " " * 1_000_000,
        "\\boxed" + " " * 1_000_000,
        "####" * 200_000,
        "7 " * 400_000 + "\\boxed{7",
        "\\" * 1_000_000,
        "\\boxed{1}, " * 100_000,
        "\\boxed{" + " " * 400 + "\\text{ and " * 100_000 + "\\boxed{7}",
        "so it is $" + "$" * 1_000_000,
        "\\boxed{1} final answer is" * 40_000,
        "so it is \\(" * 100_000,
    ],
    ids=lambda text: repr(text[:12]),
)
def test_hostile_text_takes_linear_time(response):
    started = time.process_time()
    extract(response)
    assert time.process_time() - started < 1.0
