"""A plan as a table to read."""

from __future__ import annotations

from typing import Any


def report(plan: dict[str, Any]) -> list[str]:
    """The plan as lines of Markdown."""
    chip = plan["chip"]
    lines = [f"{plan['topology']}: {plan['devices']} x {plan['device_kind']}, {plan['processes']} processes."]
    if chip is not None:
        lines[0] += (
            f" A chip has {chip['hbm_bytes'] / 2**30:.0f} GiB at {chip['hbm_bytes_per_s'] / 1e9:.0f} GB/s and "
            f"{chip['flops_per_s'] / 1e12:.0f} TFLOP/s (published)."
        )
    lines += [
        "Figures are for one chip and one step. Times are estimates: no chip reaches its peaks, but of the bytes that",
        "the compiler counts, some never leave the chip.",
        "",
        "| program | px | batch | steps | memory, GiB | GFLOP | GB accessed | collectives | compute, ms | "
        "traffic, ms | all steps, min | compile, s |",
        "| --- | --- | --: | --: | --: | --: | --: | --- | --: | --: | --: | --: |",
    ]
    for row in plan["programs"]:
        sums = row.get("collectives", {})
        exchanged = ", ".join(f"{c['count']} {kind} ({c['bytes'] / 1e6:.2f} MB)" for kind, c in sums.items())
        lines.append(
            f"| {row['name']} | {row['size_px'][0]} x {row['size_px'][1]} | {row['batch']} | {row['steps']} | "
            f"{_memory(row, chip)} | {_figure(row, 'flops', 1e9)} | {_figure(row, 'bytes_accessed', 1e9)} | "
            f"{exchanged or 'none' if row['fits'] else '-'} | {_figure(row, 'compute_s', 1e-3)} | "
            f"{_figure(row, 'traffic_s', 1e-3)} | {_figure(row, 'total_s', 60)} | {row['compile_s']:.1f} |"
        )
    lines.append("")
    if all("total_s" in row for row in plan["programs"]):
        lines.append(f"All programs, estimate: {sum(row['total_s'] for row in plan['programs']) / 60:.1f} min.")
    for row in plan["programs"]:
        what = f"{row['name']}, {row['size_px'][0]} x {row['size_px'][1]} px"
        if not row["fits"]:
            lines.append(f"{what}: batch {row['batch']} does not fit; the largest that does: {row['largest_batch']}.")
        elif "largest_batch" in row:
            lines.append(f"{what}: batch {row['batch']} fits; the largest that does: {row['largest_batch']}.")
    return lines


def _memory(row: dict[str, Any], chip: dict[str, Any] | None) -> str:
    if row["memory_bytes"] is None:
        return "-" if row["fits"] else "too much"
    share = "" if chip is None else f" ({100 * row['memory_bytes'] / chip['hbm_bytes']:.0f} %)"
    return f"{row['memory_bytes'] / 2**30:.2f}{share}"


def _figure(row: dict[str, Any], name: str, unit: float) -> str:
    return "-" if row.get(name) is None else f"{row[name] / unit:.2f}"
