"""build/bench.png: rates, bytes per message and heap, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tools.bench.clients import BASELINE, OURS

_PANELS = (
    (
        "messages a second",
        True,
        ("qos0_per_s", "qos0_aliased_per_s", "qos1_per_s", "qos1_window_per_s", "received_per_s"),
    ),
    ("bytes allocated per message", False, ("qos0_bytes", "qos1_bytes", "qos2_bytes", "received_bytes")),
    ("bytes of heap held", False, ("import_held", "connect_held")),
)
_WORDS = {
    "qos0_per_s": "QoS 0",
    "qos0_aliased_per_s": "QoS 0\nby alias",
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


def draw_chart(results: dict[str, Any], path: Path) -> None:
    """Draw the clients' figures. Raises ImportError without matplotlib."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    clients = results["clients"]
    names = [OURS, *(name for name in clients if name not in (OURS, BASELINE)), BASELINE]
    greys = iter(("#2f4b7c", "#665191", "#a05195", "#7a9cc6", "#9aa5b1"))
    colours = {OURS: "#e4572e", BASELINE: "#dddddd"}
    for name in names:
        colours[name] = colours.get(name) or next(greys)
    figure, axes = pyplot.subplots(3, 1, figsize=(11, 13), constrained_layout=True)
    for axis, (title, logarithmic, keys) in zip(axes, _PANELS):
        shown = [name for name in names if name in clients and (name != BASELINE or logarithmic)]
        width = 0.84 / len(shown)
        for i, name in enumerate(shown):
            at = [k - 0.42 + width * (i + 0.5) for k in range(len(keys))]
            values = [clients[name][key] for key in keys]
            axis.bar(at, [value or 0 for value in values], width * 0.92, label=name, color=colours[name])
            for x, value in zip(at, values):
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
        if logarithmic:
            axis.set_yscale("log")
            axis.set_ylim(bottom=5)
        axis.margins(y=0.16)
        axis.set_xticks(range(len(keys)), [_WORDS[key] for key in keys])
        axis.set_title(title, loc="left")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].legend(ncols=7, loc="lower center", bbox_to_anchor=(0.5, 1.08), frameon=False)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
