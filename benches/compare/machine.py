"""What the comparisons say of the machine, and where they find our side."""
import os
import platform
from pathlib import Path

THREADS = 2
ROOT = Path(__file__).resolve().parents[2]


def example(name):
    return str(Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release/examples" / name)


def processor():
    return next(
        (line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")),
        platform.machine(),
    )
