#!/usr/bin/env python3
"""Prints registers and spilled bytes of kernels, from the PTX that the stand-in kept.

    registers.py PTXAS FOLDER…

A folder is that of one compute capability. Fails where ptxas refuses a kernel, where one of ours spills
more than SPILLED_MAX bytes, and where TF32 is used.
"""

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# Bytes that a thread may keep outside registers.
SPILLED_MAX = 64

# Names of Burn's and cubek's own kernels.
OTHERS = re.compile(
    r"matmul_entry|elemwise_fuse|copy_kernel|kernel_|full_kernel|cast_element|slice_|reduce_kernel|"
    r"conv|col2im|im2col|gather|scatter|arange|select|mask_|unary|pool|interpolate|repeat|flip|"
    r"reduce_|argmax|shared_sum|init|cat_|clamp|comparison|direct"
)


def assemble(ptxas, path):
    """Name, architecture, registers, bytes spilled, matrix instructions; or what ptxas says."""
    text = path.read_text()
    target = re.search(r"\.target\s+(\w+)", text).group(1)
    name = re.search(r"\.entry\s+(\w+)", text).group(1)
    done = subprocess.run(
        [ptxas, "-v", f"-arch={target}", "-o", "/dev/null", str(path)],
        capture_output=True, text=True,
    )
    if done.returncode:
        return name, target, None, None, done.stderr.strip()
    registers = int(re.search(r"Used (\d+) registers", done.stderr).group(1))
    spilled = sum(int(n) for n in re.findall(r"(\d+) bytes spill", done.stderr))
    matrix = len(re.findall(r"\bw?mma\.|\bwgmma\.", text))
    return name, target, registers, spilled, matrix


def main():
    ptxas, folders = sys.argv[1], [Path(folder) for folder in sys.argv[2:]]
    failed = False
    for folder in folders:
        with ThreadPoolExecutor() as pool:
            found = list(pool.map(lambda path: assemble(ptxas, path), sorted(folder.glob("*.ptx"))))
        refused = [row for row in found if row[2] is None]
        ours = [row for row in found if row[2] is not None and not OTHERS.search(row[0])]
        spilling = [row for row in ours if row[3] > SPILLED_MAX]
        products = [row for row in found if row[0].startswith("matmul") and row[2] is not None]
        print(f"{folder.name}: {len(found)} kernels compiled, {len(ours)} of them ours")
        for row in sorted({(re.sub(r"_[0-9a-f]{8}$", "", name), regs, spilled)
                           for name, _, regs, spilled, _ in ours}):
            print("    {:<44} {:>3} registers {:>3} bytes spilled".format(*row))
        with_matrix = sum(1 for row in products if row[4])
        print(f"    of {len(products)} products, {with_matrix} use matrix instructions")
        tf32 = [path.name for path in folder.glob("*.ptx") if ".tf32" in path.read_text()]
        if tf32:
            print(f"    TF32 in {', '.join(tf32)}: what is called f32 would be rounded")
        for name, target, _, _, said in refused:
            print(f"    refused for {target}: {name}: {said}")
        failed |= bool(refused or spilling or tf32 or not ours)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
