"""All measurements of the sampling engine, one after another: `python -m benchmarks.sampling`, 15 minutes on two cores.

Nothing else should run on the machine meanwhile.
"""

import subprocess
import sys

MODULES = ("engine_overhead", "adaptive", "ledger_resume")


def main() -> None:
    """Run each; exit with 1 when one fails."""
    failed = [name for name in MODULES if subprocess.call([sys.executable, "-m", f"benchmarks.{name}"])]
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
