"""Reworded questions: synonyms and word order by rule. No language model, so it is a mild paraphrase."""

import random
import re

# In this order: none makes what a later one changes back.
SYNONYMS = (
    (r"\bDetermine\b", "Work out"),
    (r"\bFind the value of\b", "Compute"),
    (r"\bFind\b", "Determine"),
    (r"\bfind\b", "determine"),
    (r"\bCompute\b", "Calculate"),
    (r"\bEvaluate\b", "Find the value of"),
    (r"\bSimplify\b", "Reduce"),
    (r"\bWhat is\b", "Calculate"),
    (r"\bwhat is\b", "calculate"),
    (r"\bHow many\b", "What is the number of"),
    (r"\bhow many\b", "what is the number of"),
    (r"\bSuppose that\b|\bSuppose\b", "Assume that"),
    (r"\bLet\b", "Say that we let"),
    (r"\bGiven that\b", "It is known that"),
    (r"\bsuch that\b", "so that"),
    (r"\bsatisfying\b", "which satisfy"),
    (r"\bpositive integers\b", "natural numbers"),
    (r"\bpositive integer\b", "natural number"),
    (r"\bthe sum of\b", "the total of"),
    (r"\bsmallest\b", "least"),
    (r"\blargest\b", "greatest"),
    (r"\bmaximum\b", "largest"),
    (r"\bminimum\b", "smallest"),
    (r"\bdistinct\b", "different"),
    (r"\bwhere\b", "in which"),
    (r"\bif\b", "when"),
    (r"\bIf\b", "When"),
    (r"\bchosen\b", "picked"),
    (r"\bat random\b", "randomly"),
    (r"\bprobability\b", "chance"),
    (r"\bExpress your answer\b", "Write the answer"),
    (r"\bEach\b", "Every"),
    (r"\beach\b", "every"),
    (r"\bbegins\b", "starts"),
    (r"\bequation\b", "relation"),
    (r"已知", "设有"),
    (r"则", "那么"),
    (r"计算[：:]?", "求值："),
    (r"多少", "几"),
    (r"的值", "之值"),
)
LEADS = (
    # "If A, B?" and "B if A": the clauses change places.
    (r"^(If|When|Assuming that) ([^,.?]+), ([^.?]+)([.?])$", r"\3, given that \2\4"),
    (r"^([A-Z][^,.?]+), where ([^.?]+)([.?])$", r"Where \2, \1\3"),
)
ENOUGH = 2
"""Rules that must have changed something: one exchanged word is no paraphrase."""


def reword(text: str, generator: random.Random) -> str:
    """One synonym exchanged, wherever it stands."""
    rules = [rule for rule in SYNONYMS if re.search(rule[0], text)]
    return re.sub(*generator.choice(rules), text) if rules else text


def paraphrase(text: str, generator: random.Random) -> str:
    """Reworded by every rule that applies, each with nine chances in ten; the text itself where too few apply."""
    changes, done = text, 0
    for pattern, replacement in (*LEADS, *SYNONYMS):
        changed = re.sub(pattern, replacement, changes)
        if changed != changes and generator.random() < 0.9:
            changes, done = changed, done + 1
    return changes if done >= ENOUGH else text
