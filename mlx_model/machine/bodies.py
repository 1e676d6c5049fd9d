"""The C files of this package, and the bodies each is compiled in: for which processors, by which options.

The source is one; a body is what the compiler makes of it with a body's options. Here at run time, once, or all of a
machine's kind when a wheel is built (`prebuilt.py`). Stdlib only.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
X86, ARM = frozenset({"x86_64", "AMD64"}), frozenset({"aarch64", "arm64"})  # as platform.machine() says
AVX2 = frozenset({"avx2", "fma", "f16c"})  # as /proc/cpuinfo names them: without those that the system does not save
EVERYWHERE = ("-fno-math-errno", "-pthread")
FOR_AVX2 = ("-mavx2", "-mfma", "-mf16c", *EVERYWHERE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """A way to compile a C file: for which machines, what the processor must have, and the compiler's options."""

    words: str
    flags: frozenset[str]
    options: tuple[str, ...]
    machines: frozenset[str] = X86
    automatic: bool = True  # whether it is taken without being named

    @property
    def is_for_this_machine(self) -> bool:
        """Whether this machine is of its kind; what the processor has is another question."""
        return platform.machine() in self.machines


# The widest first: the first that can run is taken.
BODIES = {
    "avx512": Body(
        words="AVX-512", flags=AVX2 | {"avx512f"}, options=("-O3", *FOR_AVX2, "-mavx512f", "-DLANES=16")
    ),
    "avx2": Body(words="AVX2 and FMA", flags=AVX2, options=("-O3", *FOR_AVX2)),
    # Compiled and tested under qemu-user (tests/mlx_model/engines/test_neon.py); its speed was never measured. Every
    # 64-bit ARM processor has it.
    "neon": Body(words="NEON", machines=ARM, flags=frozenset(), options=("-O3", *EVERYWHERE, "-DLANES=4")),
    # The wide body's arithmetic on a processor without AVX-512, many times slower: for tests of its results. -O3 would
    # compile for 20 s in place of 2; without expensive optimisations products would not be fused with sums.
    "avx512-by-avx2": Body(
        words="AVX-512's body by AVX2",
        flags=AVX2,
        options=("-O1", "-fexpensive-optimizations", *FOR_AVX2, "-Wno-psabi", "-DLANES=16"),
        automatic=False,
    ),
}
EXACT = ("-O3", "-ffp-contract=off")  # no product is fused with a sum: all bodies of cpu_int8.c round alike
INT8_BODIES = {
    "avx512-vnni": Body(
        words="AVX-512 VNNI", flags=AVX2 | {"avx512f", "avx512_vnni"},
        options=(*EXACT, "-mavx2", "-mavx512f", "-mavx512vnni"),
    ),
    "avx-vnni": Body(words="AVX-VNNI", flags=AVX2 | {"avx_vnni"}, options=(*EXACT, "-mavx2", "-mavxvnni")),
    "avx2": Body(words="AVX2", flags=AVX2, options=(*EXACT, "-mavx2")),
    "portable": Body(words="plain C", machines=X86 | ARM, flags=frozenset(), options=(*EXACT, "-Wno-psabi")),
    # What the bodies with VNNI do, their instruction in plain C: for tests of its results.
    "avx-vnni-by-avx2": Body(
        words="AVX-VNNI's body by AVX2", flags=AVX2, options=(*EXACT, "-mavx2", "-DEMULATED"), automatic=False
    ),
    "avx512-vnni-by-avx2": Body(
        words="AVX-512 VNNI's body by AVX2", flags=AVX2,
        options=("-O1", "-ffp-contract=off", "-mavx2", "-DEMULATED", "-DLANES=16", "-Wno-psabi"), automatic=False,
    ),
}  # fmt: skip
# What passes OpenBLAS's products on has nothing to compute.
PLAIN = Body(words="", machines=X86 | ARM, flags=frozenset(), options=("-O1",))
# Files that BODIES are not for.
OTHERS: dict[str, tuple[Body, ...]] = {"blas_names.c": (PLAIN,), "cpu_int8.c": tuple(INT8_BODIES.values())}


def builds(package: Path = PACKAGE) -> Iterator[tuple[Path, Body]]:
    """Yield every C file of this package with every body that may be taken on a machine of this kind."""
    for source in sorted(package.rglob("*.c")):
        for body in OTHERS.get(source.name, tuple(BODIES.values())):
            if body.automatic and body.is_for_this_machine:
                yield source, body
