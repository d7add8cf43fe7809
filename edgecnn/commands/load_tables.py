"""A load test for people and for machines."""

from __future__ import annotations

from dataclasses import dataclass

from edgecnn.commands.console import Column, Terminal
from edgecnn.environment import Environment
from edgecnn.loadtest.plan import LoadPlan
from edgecnn.loadtest.summary import LatencyMs, LoadSummary, Rate

__all__ = ["LoadDocument", "describe_load", "load_document", "print_load"]

SCHEMA = "edgecnn.load/1"

_PERCENTILES = ("p50", "p90", "p95", "p99", "p99.9")

_COLUMNS = (
    Column("outcome", number=False),
    Column("requests"),
    *(Column(f"{name} ms") for name in _PERCENTILES),
    Column("max ms"),
)

#: What people call the faults of :class:`edgecnn.loadtest.records.Fault`.
_FAULTS = {
    "connect": "no connection",
    "reset": "connection lost",
    "timeout": "no answer in time",
    "protocol": "no HTTP",
    "wrong": "wrong answer",
}

#: Requests that are sent later than that, at the 99th percentile, are late by more than the timer's grain.
_LATE_MS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadDocument:
    """What --json prints.

    Attributes:
        schema: its name and version.
        environment: the machine that made the load.
        url: of the server.
        model: its name.
        payload: the kind of request.
        clients: of a closed loop; None for an open one.
        rate_per_s: of an open loop; None for a closed one.
        arrivals: likewise.
        connections: likewise, at most.
        warmup_s: before the measured part.
        timeout_s: after which a request was given up.
        result: the figures.
    """

    schema: str
    environment: Environment
    url: str
    model: str
    payload: str
    clients: int | None
    rate_per_s: float | None
    arrivals: str | None
    connections: int | None
    warmup_s: float
    timeout_s: float
    result: LoadSummary


def load_document(
    plan: LoadPlan, model: str, payload: str, summary: LoadSummary, environment: Environment
) -> LoadDocument:
    """The JSON document of one run."""
    is_open = plan.rate_per_s is not None
    return LoadDocument(
        schema=SCHEMA,
        environment=environment,
        url=plan.target.url,
        model=model,
        payload=payload,
        clients=None if is_open else plan.clients,
        rate_per_s=plan.rate_per_s,
        arrivals=plan.arrivals if is_open else None,
        connections=plan.clients if is_open else None,
        warmup_s=plan.warmup_s,
        timeout_s=plan.timeout_s,
        result=summary,
    )


def describe_load(plan: LoadPlan, model: str, payload: str) -> str:
    """One line: what is sent, and how."""
    size = sum(len(each.data) for each in plan.payloads) / len(plan.payloads)
    how = (
        f"closed loop of {plan.clients} client{'s' if plan.clients > 1 else ''}"
        if plan.rate_per_s is None
        else f"open loop, {plan.rate_per_s:g}/s ({plan.arrivals})"
    )
    return f"{plan.target.url}, {model}: {how}, {payload} requests of {size / 1000:.1f} KB"


def print_load(terminal: Terminal, summary: LoadSummary) -> None:
    """The table, and a line for what it does not hold."""
    rows = [_row("accepted", summary.accepted)] if summary.accepted is not None else []
    rows += [_row(f"refused ({status})", found) for status, found in summary.refused.items()]
    rows += [(_FAULTS[name], count, *[None] * 6) for name, count in summary.faults.items()]
    terminal.table(_COLUMNS, rows)
    if summary.accepted is not None and (intervals := _intervals(summary.accepted)):
        terminal.line(f"Accepted, 95 % intervals in ms: {intervals}")
    terminal.line(
        f"{summary.requests:,} requests in {summary.seconds:.1f} s; answered {_rate(summary.answered)}, "
        f"goodput {_rate(summary.goodput)}"
    )
    terminal.line(f"Making the load took {summary.client_cpu_ms:.3f} ms of CPU a request.")
    late = None if summary.late_ms is None else summary.late_ms.percentiles["p99"]
    if late is not None and late > _LATE_MS:
        terminal.warn(
            f"one request in a hundred was sent {late:.1f} ms late or more, for want of a connection or of "
            "CPU here; latencies count that, too."
        )


def _row(name: str, found: LatencyMs) -> tuple[object, ...]:
    percentiles = (found.percentiles[each] for each in _PERCENTILES)
    shown = [None if value is None else f"{value:.2f}" for value in percentiles]
    return (name, found.count, *shown, f"{found.max:.2f}")


def _intervals(found: LatencyMs) -> str:
    """Of the percentiles that have one."""
    known = [(name, ends) for name in _PERCENTILES if (ends := found.ci95[name]) is not None]
    return ", ".join(f"{name} {low:.2f} to {high:.2f}" for name, (low, high) in known)


def _rate(rate: Rate) -> str:
    interval = "" if rate.ci95 is None else f" ({rate.ci95[0]:.1f} to {rate.ci95[1]:.1f})"
    return f"{rate.per_s:.1f}/s{interval}"
