"""Compile the GPU's kernel for a compute capability (as 80), without a GPU; prints what it does."""

import sys

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from fgsn_ros.localization.gpu_kernel import BLOCK, WARPS, score_block
from fgsn_ros.localization.kernel import MAX_SIZE, NEAR_M

FLOATS = ("poses", "camera", "points", "table", "sums")
NUMBERS = ("count", "point_count", "width")


def main():
    constants = {"near": NEAR_M, "max_size": MAX_SIZE, "block": BLOCK}
    types = dict.fromkeys(FLOATS, "*fp32") | dict.fromkeys(NUMBERS, "i32")
    types |= {"rows": "*i32", "grid": "*u8", "last_u": "fp32", "last_v": "fp32"} | dict.fromkeys(
        constants, "constexpr"
    )
    signature = {name: types[name] for name in score_block.arg_names}
    compiled = triton.compile(
        ASTSource(score_block, signature, constants),
        target=GPUTarget("cuda", int(sys.argv[1]), 32),
        options={"num_warps": WARPS},
    )
    for instruction in ("ld.global", "st.global"):
        if instruction in compiled.asm["ptx"]:
            print(instruction)


if __name__ == "__main__":
    main()
