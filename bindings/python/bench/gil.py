# SPDX-License-Identifier: MIT
"""How long each call on 512 MiB keeps other threads from running: the longest gap between a second thread's ticks.

From each gap the time is taken for which the thread ran, or was ready and waited for a CPU (/proc/PID/task/TID/schedstat):
what is left is the time for which it waited for the GIL. On a busy machine that holds the time, too, for which the thread
that had the GIL waited for a CPU: run it alone, or with a priority that nothing else has ("chrt -f 1").
"""

import os
import tempfile
import threading
import time

import vmarena

SIZE = 512 << 20
LIMIT_MS = 5.0


def waited(schedstat):
    """Nanoseconds but for those in which the thread ran or waited for a CPU."""
    ran, delayed, _ = os.pread(schedstat.fileno(), 100, 0).split()
    return time.perf_counter_ns() - int(ran) - int(delayed)


class Ticker(threading.Thread):
    def __init__(self):
        super().__init__(daemon=True)
        self.running, self.longest, self.ticks = True, 0, 0

    def run(self):
        with open(f"/proc/self/task/{threading.get_native_id()}/schedstat", "rb", buffering=0) as schedstat:
            last = waited(schedstat)
            while self.running:
                now = waited(schedstat)
                self.longest = max(self.longest, now - last)
                last = now
                self.ticks += 1


def measure(name, call):
    ticker = Ticker()
    ticker.start()
    while ticker.ticks < 1000:
        time.sleep(0)
    ticker.longest = 0
    begin = time.perf_counter()
    result = call()
    took = time.perf_counter() - begin
    ticker.running = False
    ticker.join()
    gap = ticker.longest / 1e6
    print(f"{name:24} {took * 1000:9.1f} ms {gap:9.2f} ms{'' if gap <= LIMIT_MS else '   over'}", flush=True)
    return result


def main():
    print(f"{'512 MiB':24} {'the call':>12} {'longest gap':>12}   (limit: {LIMIT_MS:.0f} ms)")
    measure("nothing", lambda: time.sleep(0.3))
    with vmarena.Arena(2 * SIZE) as arena:
        measure("prefault", lambda: arena.prefault(SIZE))
        left, right = arena.alloc(SIZE), arena.alloc(SIZE)
        measure("fill", lambda: vmarena.fill(left, 1, SIZE))
        measure("copy", lambda: vmarena.copy(right, left, SIZE))
        measure("compare", lambda: vmarena.compare(left, right, SIZE))
        data = measure("read", lambda: vmarena.read(left, SIZE))
        measure("write", lambda: vmarena.write(right, data))
        measure("slice", lambda: left[:])
        measure("==", lambda: left == data)
        measure("stats", arena.stats)
        measure("protect", lambda: arena.protect(vmarena.Prot.READ))
        arena.protect(vmarena.Prot.READ | vmarena.Prot.WRITE)
        measure("reset", arena.reset)
        measure("alloc, zeroed", lambda: arena.alloc(SIZE, zeroed=True))
    for flags, tracking in ((0, "compare"), (vmarena.Flag.MEMFD, "file")):
        arena = vmarena.Arena(SIZE, flags=flags)
        memory = arena.alloc(SIZE)
        vmarena.fill(memory, 1, SIZE)
        point = measure(f"snapshot, {tracking}", lambda: arena.snapshot(tracking))
        vmarena.fill(memory, 2, SIZE)
        measure(f"dirty pages, {tracking}", point.dirty_pages)
        measure(f"restore, {tracking}", point.restore)
        clone, _ = measure(f"clone, {tracking}", point.clone)
        measure(f"close, {tracking}", arena.close)
        clone.close()
    with tempfile.NamedTemporaryFile() as file:
        file.truncate(SIZE)
        with vmarena.View(file, "shared") as view:
            measure("view: populate", view.populate)
            measure("view: write", lambda: view.write(0, data))
            measure("view: sync", view.sync)
            measure("view: read", view.read)


main()
