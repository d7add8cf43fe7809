"""The limits that a result did not keep to, in words, and those that it kept to only by chance."""

from __future__ import annotations

from edgecnn.reports.result import Gate, Result

__all__ = ["excused", "missed"]

#: Name of the gate -> what is above its limit.
_SENTENCES = {
    "latency_bound_ms": (
        "The 99th percentile of latency is {value:.2f} ms; --latency-bound-ms allows {limit:g}."
    ),
    "qps": "It cannot keep up with {limit:g} queries/s: it answers {value:.4g} a second at most.",
    "duration": (
        "{value:g} s are too short to tell the 99th percentile of latency at this --qps, so that "
        "--latency-bound-ms was not tested: give it a --duration of at least {limit:g} s."
    ),
    "max_latency_ms": "The 95th percentile of latency is {value:.2f} ms; --max-latency-ms allows {limit:g}.",
    "max_drop": "Top-1 is {value:.2f} points below the float model's; --max-drop allows {limit:g}.",
}


def missed(result: Result) -> tuple[str, ...]:
    """A sentence for each limit of ``result`` that did not hold."""
    return tuple(_sentence(gate) for gate in result.gates if not gate.held)


def excused(result: Result) -> tuple[str, ...]:
    """A sentence for each drop of ``result`` that is above its limit by no more than chance explains."""
    return tuple(
        f"top-1 is {gate.value:.2f} points lower, more than the {gate.limit:g} allowed, but within chance on "
        "so few images: measure on more (--data)."
        for gate in result.gates
        if gate.name == "max_drop" and gate.held and gate.value > gate.limit
    )


def _sentence(gate: Gate) -> str:
    text = _SENTENCES.get(gate.name, "{name} is {value:g}; the limit is {limit:g}.")
    return text.format(name=gate.name, value=gate.value, limit=gate.limit)
