import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tasks.grading import symbolic, worker
from tasks.grading.symbolic import Check, Limits, check_many
from tests.waiting import wait_until

# The default, so that these tests share the workers of the others.
LIMITS = Limits()
BOMB_LIMITS = Limits(seconds=1.0)
RIGHT = Check("3\\sqrt{13}", "\\sqrt{117}")


def test_outcomes_come_in_the_order_of_the_checks():
    wrong, unparsed = Check("\\sqrt{2}", "\\sqrt{3}"), Check("\\sqrt{2}", "\\left(\\left(")
    assert check_many([RIGHT, wrong, unparsed, RIGHT], LIMITS) == ["correct", "incorrect", "unparsed", "correct"]


@pytest.mark.slow
@pytest.mark.parametrize("bomb", ["9^{9^{9}}", "(10^9)!", "\\binom{10^9}{5*10^8}", "((9^{999})^{999})^{999}"])
def test_a_bomb_that_was_not_refused_is_killed_and_the_rest_is_checked(bomb):
    check_many([RIGHT], BOMB_LIMITS)
    outcome, after = check_many([Check("\\sqrt{2}", bomb), RIGHT], BOMB_LIMITS)
    # After one second of CPU time, or 3.5 by the clock; without a limit it would not end at all.
    assert outcome != "correct"
    assert after == "correct"


@pytest.mark.slow
def test_a_worker_killed_from_outside_is_replaced():
    check_many([RIGHT], LIMITS)
    os.killpg(symbolic._pools[0].workers[0].process.pid, signal.SIGKILL)
    # Killed while idle: the next check finds a dead worker, and is retried on a new one.
    assert check_many([RIGHT, RIGHT], LIMITS) == ["correct", "correct"]


@pytest.mark.slow
def test_a_child_killed_while_idle_shifts_no_verdict():
    """The reply for the dead child must not be read as that of the next check."""
    alternating = [RIGHT, Check("\\sqrt{2}", "\\sqrt{3}")] * 4
    one_worker = Limits(workers=1)
    check_many([RIGHT], one_worker)
    parent = symbolic._pools[0].workers[0].process.pid
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGKILL)
    time.sleep(0.2)
    assert check_many(alternating, one_worker) == ["correct", "incorrect"] * 4


def test_a_script_without_a_main_guard_may_grade():
    script = "from tasks.grading.grader import grade; print(grade('3\\\\sqrt{13}', '\\\\boxed{\\\\sqrt{117}}').verdict)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "correct\n"


@pytest.mark.slow
def test_workers_end_with_the_process_that_started_them():
    script = (
        "import os, signal; from tasks.grading import symbolic as s;"
        "s.check_many([s.Check('\\\\sqrt2', '\\\\sqrt3')], s.Limits(workers=1));"
        "print(s._pools[0].workers[0].process.pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    worker = int(done.stdout)
    wait_until(lambda: not alive(worker))


@pytest.mark.slow
def test_a_check_without_memory_ends_as_worker_died():
    assert check_many([RIGHT, RIGHT], Limits(memory_mb=1, workers=1)) == ["worker_died", "worker_died"]


def alive(pid):
    """Whether the process runs; an unreaped zombie does not."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("gold", ["7", "x^2+1"])
@pytest.mark.parametrize("answer", [r"\infty \infty", r"-\infty", r"0\infty", r"\infty-\infty", r"\frac{1}{0}"])
def test_what_has_no_finite_value_differs_without_being_simplified(gold, answer):
    expected, given = worker._parse(gold)[0], worker._parse(answer)[0]
    assert worker._differ(expected, given)
    assert not worker._differ(given, given)
