"""Runs a program to its end and measures it."""

import os
import subprocess
import time


class ProgramFailed(Exception):
    pass


class Usage:
    def __init__(self, wall_seconds, cpu_seconds, peak_bytes):
        self.wall_seconds = wall_seconds
        self.cpu_seconds = cpu_seconds
        self.peak_bytes = peak_bytes


def run(command, environment):
    """Returns the usage of the program, whose standard output is discarded. Raises ProgramFailed if it fails.

    The peak memory is read while the program runs: `ru_maxrss` also counts the memory of the process that has started it.
    """
    started = time.monotonic()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    peak_bytes = 0
    while True:
        peak_bytes = max(peak_bytes, resident_peak_bytes(process.pid))
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        time.sleep(0.01)
    wall_seconds = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if status:
        raise ProgramFailed(f"{command[0]} failed: exit status {process.returncode}")
    return Usage(wall_seconds, usage.ru_utime + usage.ru_stime, peak_bytes)


def resident_peak_bytes(pid):
    """Returns 0 for a process that has ended."""
    with open(f"/proc/{pid}/status") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0
