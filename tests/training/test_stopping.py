import threading

from tasks.training.recipe import hold


def test_a_second_run_says_that_it_waits_and_goes_on_when_the_first_is_gone(tmp_path, capfd):
    first, held = hold(tmp_path), []
    second = threading.Thread(target=lambda: held.append(hold(tmp_path)), daemon=True)
    second.start()
    second.join(0.5)
    assert held == []
    first.close()
    second.join(10)
    assert len(held) == 1
    held[0].close()
    assert capfd.readouterr().out == f"train: an earlier run is still saving to {tmp_path}; waiting for it\n"
