"""Parse, configure, build: the calls to TensorRT, with names that 10.3 to 11.4 and RTX 1.x all have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from edgecnn.errors import EngineError, EngineUnavailableError
from edgecnn.plans.diagnosis import build_failure, parse_failure
from edgecnn.plans.flavour import Flavour
from edgecnn.plans.layers import layers_of_inspector, layers_of_log, network_layers, shortfall
from edgecnn.plans.logger import BuildLog, attach_log
from edgecnn.plans.messages import BuildJob, Built, Progress
from edgecnn.plans.monitor import attach_monitor
from edgecnn.plans.timing_cache import merge_timings, use_timings

__all__ = ["compile_plan"]


def compile_plan(
    trt: Any,  # noqa: ANN401 - the packages have no types
    flavour: Flavour,
    job: BuildJob,
    observe: Callable[[Progress], None],
) -> Built:
    """Build what ``job`` says and write it.

    Args:
        trt: the flavour's package.
        flavour: which it is.
        job: what to build.
        observe: told about each step.

    Raises:
        EngineUnavailableError: TensorRT has no GPU to build on.
        EngineError: the model was refused, the build failed, or the plan is in another precision.
        OSError: the plan cannot be written.
    """
    log = BuildLog()
    logger = attach_log(trt, log)
    builder = _builder(trt, flavour, logger, log)
    network = _parsed(trt, builder, logger, job, log)
    found = network_layers(trt, network)
    _require_precision(job, found, {})
    config = _configured(trt, builder, network, job)
    warning = None if job.timing_cache is None else use_timings(config, Path(job.timing_cache))
    monitor = attach_monitor(trt, observe)
    config.progress_monitor = monitor
    content = builder.build_serialized_network(network, config)
    if content is None:
        raise build_failure(flavour, job, log)
    Path(job.plan).write_bytes(memoryview(content))
    layers, source = _inspected(trt, flavour, logger, content, job, log)
    _require_precision(job, found, layers)
    return Built(
        network_layers=found,
        layers=layers,
        layers_from=source,
        log_sha256=log.sha256(),
        warnings=(*([warning] if warning else []), *_keep_timings(config, job)),
        complaints=tuple(log.warnings),
    )


def _builder(trt: Any, flavour: Flavour, logger: Any, log: BuildLog) -> Any:  # noqa: ANN401
    try:
        return trt.Builder(logger)
    except TypeError as error:  # what the binding makes of a null pointer
        raise EngineUnavailableError(
            f"{flavour.title} finds no GPU to build on: {log.last_error(str(error))}.",
            "Check the driver with nvidia-smi and 'edgecnn doctor'; --engine trt-rtx builds without a GPU.",
        ) from error


def _parsed(trt: Any, builder: Any, logger: Any, job: BuildJob, log: BuildLog) -> Any:  # noqa: ANN401
    """The network, strongly typed: 10.x needs the flag, 11 is always so and still takes it."""
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(job.onnx):  # by file, since parse() finds no external weights
        raise parse_failure([parser.get_error(at) for at in range(parser.num_errors)], job, log)
    return network


def _configured(trt: Any, builder: Any, network: Any, job: BuildJob) -> Any:  # noqa: ANN401
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # else no layer's precision is told
    config.clear_flag(trt.BuilderFlag.TF32)  # fp32 is to mean fp32, as in ort-cuda
    if job.workspace_bytes is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, job.workspace_bytes)
    if job.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    if job.hardware != "this":
        config.hardware_compatibility_level = _hardware_level(trt, job)
    profile = builder.create_optimization_profile()
    _set_batches(profile, network, job)
    if config.add_optimization_profile(profile) < 0:
        raise EngineError(
            f"TensorRT refuses the batch sizes {job.batches} for {job.called}.", "Choose others with --batch."
        )
    return config


def _hardware_level(trt: Any, job: BuildJob) -> Any:  # noqa: ANN401
    """The level of that name; "same" came with TensorRT 10.9.

    Raises:
        EngineUnavailableError: this TensorRT is older.
    """
    name = {"ampere+": "AMPERE_PLUS", "same": "SAME_COMPUTE_CAPABILITY"}[job.hardware]
    level = getattr(trt.HardwareCompatibilityLevel, name, None)
    if level is None:
        raise EngineUnavailableError(
            f"TensorRT {trt.__version__} knows no --hardware {job.hardware}: that came with 10.9.",
            "Leave --hardware out, use --hardware ampere+, or install a newer TensorRT.",
        )
    return level


def _set_batches(profile: Any, network: Any, job: BuildJob) -> None:  # noqa: ANN401
    """The same three batch sizes for every input whose first dimension is open."""
    sizes = (job.batches.min, job.batches.opt, job.batches.max)
    for number in range(network.num_inputs):
        tensor = network.get_input(number)
        first, *rest = tuple(tensor.shape)
        if -1 in rest:
            raise EngineError(
                f"The input {tensor.name!r} of {job.called} has open dimensions besides the batch: "
                f"{tuple(tensor.shape)}.",
                "Export the model with a fixed image size.",
            )
        if first == -1:
            profile.set_shape(tensor.name, *((size, *rest) for size in sizes))


def _inspected(
    trt: Any,  # noqa: ANN401
    flavour: Flavour,
    logger: Any,  # noqa: ANN401
    content: Any,  # noqa: ANN401
    job: BuildJob,
    log: BuildLog,
) -> tuple[dict[str, int], Literal["inspector", "build log", "nothing"]]:
    """The plan's layers by precision, and who told.

    What was built ahead of time cannot be opened without a GPU; its builder lists the layers in the log.
    """
    if flavour.ahead_of_time:
        layers = layers_of_log(log.layers)
        return layers, "build log" if layers else "nothing"
    runtime = trt.Runtime(logger)
    runtime.engine_host_code_allowed = job.version_compatible  # our own code: it was built just now
    engine = runtime.deserialize_cuda_engine(memoryview(content))
    if engine is None:
        raise EngineError(
            f"The plan of {job.called} was built, and does not open: {log.last_error('no reason given')}.",
            "Free GPU memory, or build for smaller batches (--batch).",
        )
    inspector = engine.create_engine_inspector()
    layers = layers_of_inspector(inspector.get_engine_information(trt.LayerInformationFormat.JSON))
    return layers, "inspector" if layers else "nothing"


def _require_precision(job: BuildJob, network: dict[str, int], layers: dict[str, int]) -> None:
    if missing := shortfall(job.precision, network, layers):
        raise EngineError(
            f"The plan of {job.called} is not in {job.precision}, as it should be: {missing}. "
            "It was thrown away.",
            "Build it in the precision that it has, or give another model; 'edgecnn inspect' shows what is "
            "in it.",
        )


def _keep_timings(config: Any, job: BuildJob) -> tuple[str, ...]:  # noqa: ANN401
    """A warning if they cannot be kept: the plan is none the worse for it."""
    if job.timing_cache is None:
        return ()
    try:
        merge_timings(config, Path(job.timing_cache))
    except OSError as error:
        return (f"The timing cache {job.timing_cache} cannot be written: {error.strerror or error}.",)
    return ()
