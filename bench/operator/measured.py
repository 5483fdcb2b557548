"""Runs a program to its end and measures it."""

import os
import resource
import subprocess
import time


class ProgramFailed(Exception):
    pass


class Usage:
    def __init__(self, wall_seconds, cpu_seconds, stand_in_seconds, peak_bytes, switches):
        self.wall_seconds = wall_seconds
        self.cpu_seconds = cpu_seconds
        # CPU time of this process, which has the servers.
        self.stand_in_seconds = stand_in_seconds
        self.peak_bytes = peak_bytes
        # Context switches because the program waited.
        self.switches = switches


def run(command, environment, output=os.devnull):
    """Returns the usage of the program, with these variables added. Raises ProgramFailed if it fails.

    The peak memory is read while the program runs: `ru_maxrss` also counts the memory of the process that has started it.
    """
    started = time.monotonic()
    stand_in = own_cpu_seconds()
    with open(output, "wb") as file:
        process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=file)
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
    cpu_seconds = usage.ru_utime + usage.ru_stime
    return Usage(wall_seconds, cpu_seconds, own_cpu_seconds() - stand_in, peak_bytes, usage.ru_nvcsw)


def report(title, number, noun, usage):
    """Prints the usage, and how many of the things the program handled in a second."""
    print(title)
    print(
        f"  {number / usage.wall_seconds:,.0f} {noun} in a second, {number / usage.cpu_seconds:,.0f} in a second of CPU"
    )
    print(
        f"  {usage.wall_seconds:.2f} s, {usage.cpu_seconds:.2f} s of CPU, {usage.switches:,} waits, "
        f"{usage.peak_bytes / 2**20:.0f} MiB at the most; stand-ins took {usage.stand_in_seconds:.2f} s of CPU",
        flush=True,
    )


def own_cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def resident_peak_bytes(pid):
    """Returns 0 for a process that has ended."""
    with open(f"/proc/{pid}/status") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0
