"""Chart of the benchmark results (`bench.png`, matplotlib): rates, allocations and heap of each client."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tools.bench.clients import BASELINE, OURS

# title, whether the scale is logarithmic, keys of the results
_PANELS = (
    (
        "messages per second",
        True,
        ("qos0_per_s", "qos0_aliased_per_s", "qos1_per_s", "qos1_window_per_s", "received_per_s"),
    ),
    ("bytes allocated per message", False, ("qos0_bytes", "qos1_bytes", "qos2_bytes", "received_bytes")),
    ("bytes of heap in use", False, ("import_held", "connect_held")),
)
_LABELS = {
    "qos0_per_s": "QoS 0",
    "qos0_aliased_per_s": "QoS 0\nwith topic alias",
    "qos1_per_s": "QoS 1\none at a time",
    "qos1_window_per_s": "QoS 1\n20 in flight",
    "received_per_s": "received",
    "qos0_bytes": "QoS 0",
    "qos1_bytes": "QoS 1",
    "qos2_bytes": "QoS 2",
    "received_bytes": "received",
    "import_held": "after import",
    "connect_held": "after connect",
}
_COLOURS = {OURS: "#e4572e", BASELINE: "#dddddd"}
_PEER_COLOURS = ("#2f4b7c", "#665191", "#a05195", "#d45087", "#7a9cc6", "#9aa5b1")


def draw_chart(results: dict[str, Any], path: Path) -> None:
    """Draw the figures of all clients into a PNG file. Raises ImportError without matplotlib."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    clients = results["clients"]
    peers = [name for name in clients if name not in (OURS, BASELINE)]
    colours = {**_COLOURS, **dict(zip(peers, _PEER_COLOURS))}
    names = [name for name in (OURS, *peers, BASELINE) if name in clients]
    figure, axes = pyplot.subplots(3, 1, figsize=(11, 13), constrained_layout=True)
    for axis, (title, logarithmic, keys) in zip(axes, _PANELS):
        # The baseline is not a client: only its rates are drawn.
        shown = [name for name in names if name != BASELINE or logarithmic]
        for i, name in enumerate(shown):
            values = [clients[name][key] for key in keys]
            label = f"{name} *" if name in results["recorded"] else name
            _draw_bars(axis, values, i, len(shown), label, colours[name])
        if logarithmic:
            axis.set_yscale("log")
            axis.set_ylim(bottom=5)
        axis.margins(y=0.16)
        axis.set_xticks(range(len(keys)), [_LABELS[key] for key in keys])
        axis.set_title(title, loc="left")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].legend(ncols=8, loc="lower center", bbox_to_anchor=(0.5, 1.08), frameon=False)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _draw_bars(axis: Any, values: list[float | None], index: int, count: int, name: str, colour: str) -> None:
    """Draw the bars of one client, the one at `index` of `count`, each with its value above."""
    width = 0.84 / count
    positions = [k - 0.42 + width * (index + 0.5) for k in range(len(values))]
    axis.bar(positions, [value or 0 for value in values], width * 0.92, label=name, color=colour)
    for x, value in zip(positions, values):
        text = "-" if value is None else f"{value:,.0f}" if value < 10000 else f"{value / 1000:,.0f}k"
        axis.annotate(
            text,
            (x, value or 0),
            ha="center",
            va="bottom",
            fontsize=7,
            rotation=90,
            xytext=(0, 2),
            textcoords="offset points",
        )
