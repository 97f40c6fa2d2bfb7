#!/usr/bin/env python
# SPDX-License-Identifier: Apache-2.0
"""Time the calibration figures beside torchmetrics and netcal, whichever is installed, in one run on the CPU.

    python scripts/benchmark_calibration.py
    python scripts/benchmark_calibration.py --rows 100000 --classes 1000 --threads 1

All start from the same float32 logits in memory; six of ten rows are predicted rightly. torchmetrics takes logits,
too; netcal takes probabilities, with and without torch's float32 softmax in the time. Variants take turns in every
round, so that a machine that slows down slows all of them; medians are printed. On a machine busy with other work, run
one thread and read the CPU time, of all threads of this process. The error is the distance to a float64
reference, bin after bin in NumPy; the memory is the growth of the resident set at its peak.
"""

import argparse
import ctypes
import importlib.metadata
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from logitmix_nlp import functional

PEERS = ("torchmetrics", "netcal")


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--n_bins", type=int, default=15)
    parser.add_argument("--rounds", type=int, default=9, help="Timed rounds after two for warm-up.")
    parser.add_argument("--threads", type=int, default=None, help="Threads of torch; its own choice if not given.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", default="runs/benchmark_calibration", help="Folder for results.json and table.md.")
    return parser.parse_args(arguments)


def make_data(options: argparse.Namespace) -> tuple[torch.Tensor, torch.Tensor]:
    """Float32 logits of spread 3, and labels."""
    generator = torch.Generator().manual_seed(options.seed)
    logits = torch.randn(options.rows, options.classes, generator=generator) * 3
    labels = torch.randint(options.classes, (options.rows,), generator=generator)
    right = torch.rand(options.rows, generator=generator) < 0.6
    return logits, torch.where(right, logits.argmax(1), labels)


def reference(logits: torch.Tensor, labels: torch.Tensor, n_bins: int) -> float:
    """ECE in float64, bin after bin."""
    probs = logits.double().softmax(-1).numpy()
    confidence, right = probs.max(1), probs.argmax(1) == labels.numpy()
    ece = 0.0
    for m in range(n_bins):
        inside = (confidence > m / n_bins) & (confidence <= (m + 1) / n_bins)
        ece += abs(right[inside].sum() - confidence[inside].sum()) / len(right)
    return float(ece)


def variants(logits: torch.Tensor, labels: torch.Tensor, n_bins: int) -> dict[str, Callable[[], float] | None]:
    """What is timed; `None` for what is not installed."""
    probs, classes = logits.softmax(-1).numpy(), labels.numpy()
    timed: dict[str, Callable[[], float] | None] = {
        "ECE, logitmix_nlp": lambda: functional.expected_calibration_error(logits, labels, n_bins),
        **dict.fromkeys(("ECE, torchmetrics", "ECE, netcal", "ECE, softmax and netcal")),
    }
    if _version("torchmetrics"):
        from torchmetrics.functional.classification import multiclass_calibration_error

        timed["ECE, torchmetrics"] = lambda: multiclass_calibration_error(logits, labels, logits.shape[1], n_bins)
    if _version("netcal"):
        from netcal.metrics import ECE

        timed["ECE, netcal"] = lambda: ECE(n_bins).measure(probs, classes)
        timed["ECE, softmax and netcal"] = lambda: ECE(n_bins).measure(logits.softmax(-1).numpy(), classes)
    for name, figure in {
        "class-wise ECE": functional.classwise_calibration_error,
        "equal-mass ECE": functional.adaptive_calibration_error,
        "NLL": functional.negative_log_likelihood,
        "Brier score": functional.brier_score,
        "AUROC of confidence": functional.confidence_auroc,
        "AURC": functional.area_under_risk_coverage,
    }.items():
        timed[f"{name}, logitmix_nlp"] = lambda figure=figure: figure(logits, labels)
    return timed


def measure(options: argparse.Namespace) -> dict[str, dict[str, float | None]]:
    """Median seconds, peak bytes, value and error of every variant."""
    logits, labels = make_data(options)
    exact = reference(logits, labels, options.n_bins)
    timed = variants(logits, labels, options.n_bins)
    seconds, cpu_seconds = ({name: [] for name in timed} for _ in range(2))
    peaks, values = {}, {}
    for turn in range(options.rounds + 2):
        for name, variant in timed.items():
            if variant is None:
                continue
            start, busy = time.perf_counter(), time.process_time()
            values[name] = float(variant())
            if turn >= 2:
                seconds[name].append(time.perf_counter() - start)
                cpu_seconds[name].append(time.process_time() - busy)
    for name, variant in timed.items():
        peaks[name] = None if variant is None else peak_bytes(variant)
    ours = statistics.median(seconds["ECE, logitmix_nlp"])
    return {
        name: {
            "seconds": statistics.median(seconds[name]),
            "cpu_seconds": statistics.median(cpu_seconds[name]),
            "times_ours": statistics.median(seconds[name]) / ours,
            "peak_bytes": peaks[name],
            "value": values[name],
            "error": abs(values[name] - exact) if name.startswith("ECE") else None,
        }
        for name in timed
        if timed[name] is not None
    }


def peak_bytes(call: Callable[[], float]) -> int | None:
    """Growth of the resident set while `call` runs; None outside Linux and glibc."""
    try:
        ctypes.CDLL(None).malloc_trim(0)  # what earlier calls freed would be used again, and not be seen
        Path("/proc/self/clear_refs").write_text("5")  # sets the peak back to the present size
    except (OSError, AttributeError):
        return None
    before = _kib("VmRSS")
    call()
    return 1024 * (_kib("VmHWM") - before)


def table(results: dict[str, dict[str, float | None]]) -> str:
    """Markdown table of the results."""
    lines = ["| figure | ms | times ours | CPU ms | peak MiB | value | error |", "|---|---|---|---|---|---|---|"]
    for name, row in results.items():
        peak = "-" if row["peak_bytes"] is None else f"{row['peak_bytes'] / 2**20:.0f}"
        error = "-" if row["error"] is None else f"{row['error']:.1e}"
        times = f"{row['times_ours']:.2f}x" if name.startswith("ECE") else "-"
        lines.append(
            f"| {name} | {1000 * row['seconds']:.1f} | {times} | {1000 * row['cpu_seconds']:.0f} | {peak} "
            f"| {row['value']:.8f} | {error} |"
        )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Measure, print the table, write it and JSON."""
    options = parse(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    results = measure(options)
    versions = {name: _version(name) for name in ("torch", "numpy", *PEERS)}
    versions["threads"] = torch.get_num_threads()
    print(table(results))
    print("\n" + ", ".join(f"{name} {version or 'not installed'}" for name, version in versions.items()))
    folder = Path(options.output)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "table.md").write_text(table(results) + "\n")
    record = {"options": vars(options), "versions": versions, "results": results}
    (folder / "results.json").write_text(json.dumps(record, indent=2) + "\n")


def _kib(field: str) -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition(f"{field}:")[2].split()[0])


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    main()
