"""Whether `training.bf16` is worth its while on the processor at hand."""

from pathlib import Path

from flowrepro.config.schema import Config

CPUINFO = Path("/proc/cpuinfo")


def slow_bf16(config: Config, device: str, cpuinfo: Path = CPUINFO) -> str:
    """A line for a run in bfloat16 on an x86 processor without AMX, whose convolutions are slower then; else empty.

    Speed of Glow's training step in bfloat16 over that in float32, by oneDNN on one core: 1.4 with AMX, 0.8 with
    AVX512-BF16 alone, 0.5 with neither.
    """
    if not (config.training.bf16 and config.model.takes_images and device == "cpu" and cpuinfo.exists()):
        return ""
    flags = next((line for line in cpuinfo.read_text().splitlines() if line.startswith("flags")), "amx_bf16")
    if "amx_bf16" in flags.split():
        return ""
    return (
        "training.bf16=true is slower than float32 on processors without AMX, as this one; "
        "training.bf16=false, or a GPU, is faster"
    )
