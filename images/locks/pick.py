"""Prints the lock for this machine: TFDV 1.21 has wheels for glibc 2.39 and later and for macOS on arm64 only."""

import platform
import sys

name, version = platform.libc_ver()
glibc = tuple(int(part) for part in version.split(".")[:2]) if name == "glibc" else (0, 0)
arm_mac = sys.platform == "darwin" and platform.machine() == "arm64"
if glibc >= (2, 39) or arm_mac:
    print("tfdv-1.21.txt")
elif sys.version_info[:2] == (3, 11):
    print("tfdv-1.16.txt")
else:
    sys.exit(
        "error: with glibc below 2.39 Headwater runs on Python 3.11; name it, as in: make PYTHON=/path/to/python3.11 run"
    )
