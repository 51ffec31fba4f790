"""Load on a running `cyclegan serve`: clients in parallel, latency percentiles, the server's memory.

cyclegan serve runs/maps/model --queue 64 &
python benchmarks/serve.py http://127.0.0.1:8080 --clients 8 --seconds 60 --pid $!
"""

from __future__ import annotations

import argparse
import http.client
import io
import json
import os
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from PIL import Image

from benchmarks.record import RESULTS, record

BAD = {"not an image": b"\xff\xd8 no picture", "empty": b""}


def picture(side: int, seed: int) -> bytes:
    """A smooth JPEG of side×side pixels."""
    small = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def resident(pid: int) -> float:
    """Resident memory of a process in MB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def client(address: str, side: int, seed: int, until: float, found: list[tuple[int, float]]) -> None:
    """Send pictures one after the other; every tenth request is a bad one, which has to be a 400."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=300)
    good, count = picture(side, seed), 0
    while time.monotonic() < until:
        count += 1
        body = good if count % 10 else list(BAD.values())[count // 10 % len(BAD)]
        begun = time.monotonic()
        connection.request("POST", "/translate", body, {"Content-Type": "image/jpeg"})
        answer = connection.getresponse()
        data = answer.read()
        if answer.status == 200 and Image.open(io.BytesIO(data)).size != (side, side):
            raise SystemExit("the size of an answer differs from its picture's")
        if body is not good and answer.status != 400:
            raise SystemExit(f"a bad picture was answered with {answer.status}")
        if body is good:
            found.append((answer.status, time.monotonic() - begun))


def main() -> None:
    """Print the results and write them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--pid", type=int, help="process whose memory is watched")
    parser.add_argument("--out", type=Path, default=RESULTS / "serve.json", help="results as JSON")
    options = parser.parse_args()
    found: list[tuple[int, float]] = []
    until = time.monotonic() + options.seconds
    threads = [
        threading.Thread(target=client, args=(options.address, options.side, i, until, found))
        for i in range(options.clients)
    ]
    begun = time.monotonic()
    for thread in threads:
        thread.start()
    memory = []
    while any(thread.is_alive() for thread in threads):
        if options.pid:
            memory.append(resident(options.pid))
        time.sleep(1)
    seconds = time.monotonic() - begun
    done = sorted(latency for status, latency in found if status == 200)
    refused = sum(status != 200 for status, _ in found)
    percentiles = {f"p{p}": round(float(np.percentile(done, p)), 3) for p in (50, 90, 95, 99)} if done else {}
    quarter = max(len(memory) // 4, 1)
    result = {
        "clients": options.clients,
        "side": options.side,
        "seconds": round(seconds, 1),
        "translated": len(done),
        "refused": refused,
        "per_second": round(len(done) / seconds, 2),
        "latency_s": percentiles,
        "memory_MB": {
            "first quarter": round(max(memory[:quarter]), 1),
            "last quarter": round(max(memory[-quarter:]), 1),
        }
        if memory
        else None,
    }
    print(json.dumps(result))
    record(options.out, result)


if __name__ == "__main__":
    main()
