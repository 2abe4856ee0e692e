"""How good a reasoning chain is, as four numbers in [0, 1]."""
