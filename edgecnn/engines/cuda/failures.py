"""What CUDA's errors mean, and what to do about them."""

from __future__ import annotations

from edgecnn.errors import EngineError, EngineUnavailableError

__all__ = ["NO_DRIVER", "OUT_OF_MEMORY", "cuda_failure", "driver_failure", "memory_failure"]

OUT_OF_MEMORY = "cudaErrorMemoryAllocation"

#: CUDA says so of a driver that is too old, and of none at all.
NO_DRIVER = "cudaErrorInsufficientDriver"

INSTALL_DRIVER = (
    "Install NVIDIA's driver (Debian: apt install nvidia-driver; Ubuntu: ubuntu-drivers install); "
    "a container needs its GPU passed in (docker run --gpus all)."
)

#: Why nothing can run on this machine -> what to do.
_MACHINE = {
    "cudaErrorNoDevice": "Check CUDA_VISIBLE_DEVICES; a container needs its GPU passed in "
    "(docker run --gpus all).",
    "cudaErrorInvalidDevice": "Choose another GPU (device=N); 'nvidia-smi -L' lists them.",
    "cudaErrorDevicesUnavailable": "Another process has the GPU for itself: end it, or choose another GPU.",
    "cudaErrorNoKernelImageForDevice": "This build of the library has no code for this GPU: install one that "
    "supports its compute capability.",
    "cudaErrorUnsupportedPtxVersion": "Update the NVIDIA driver, or install a library of an older CUDA.",
    "cudaErrorSystemDriverMismatch": "Restart the machine: the driver's library and kernel module differ.",
    "cudaErrorCompatNotSupportedOnDevice": "Remove CUDA's compatibility package, or update the driver.",
    "cudaErrorSystemNotReady": "Start NVIDIA's services (nvidia-fabricmanager), then try again.",
}

#: After these the process can use the GPU no more.
_STICKY = {
    *("cudaErrorIllegalAddress", "cudaErrorLaunchFailure", "cudaErrorLaunchTimeout", "cudaErrorAssert"),
    *("cudaErrorHardwareStackError", "cudaErrorIllegalInstruction", "cudaErrorMisalignedAddress"),
    *("cudaErrorInvalidAddressSpace", "cudaErrorInvalidPc", "cudaErrorECCUncorrectable"),
}


def cuda_failure(function: str, name: str, text: str) -> EngineError:
    """The error of a call that did not succeed.

    Args:
        function: of CUDA.
        name: of the error, such as "cudaErrorIllegalAddress".
        text: CUDA's own words about it.
    """
    problem = f"CUDA failed in {function}: {name} ({text})."
    if name in _MACHINE:
        return EngineUnavailableError(problem, _MACHINE[name])
    if name in _STICKY:
        return EngineError(
            problem, "The process cannot use the GPU any more: start it anew; dmesg may say more (NVRM, Xid)."
        )
    return EngineError(problem, "Try again; if it stays, 'edgecnn doctor' shows the driver and versions.")


def driver_failure(driver: int, runtime: int) -> EngineUnavailableError:
    """The error of a machine without a driver, or with one that is too old.

    Args:
        driver: the newest CUDA that it knows, 13050 for 13.5; 0 where there is none.
        runtime: what is wanted, likewise.
    """
    if driver == 0:
        return EngineUnavailableError(
            "There is no NVIDIA driver here (cudaErrorInsufficientDriver).", INSTALL_DRIVER
        )
    return EngineUnavailableError(
        f"The NVIDIA driver is too old: it knows CUDA {_version(driver)}, and CUDA {_version(runtime)} is "
        f"installed ({NO_DRIVER}).",
        f"Update the driver, or install what fits it: pip install 'cuda-bindings=={driver // 1000}.*' and a "
        f"TensorRT for CUDA {driver // 1000}.",
    )


def memory_failure(what: str, asked: int, free: int | None) -> EngineError:
    """The error of memory that could not be had.

    Args:
        what: kind of memory.
        asked: bytes.
        free: bytes that nobody uses; None where that is not known.
    """
    left = "" if free is None else f", and {_mebibytes(free)} are free"
    return EngineError(
        f"Out of {what}: {_mebibytes(asked)} were asked for{left} ({OUT_OF_MEMORY}).",
        "Run smaller batches (--batch) or fewer streams, or end what else uses it ('nvidia-smi' lists it).",
    )


def _version(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"


def _mebibytes(count: int) -> str:
    return f"{count / 2**20:,.1f} MiB"
