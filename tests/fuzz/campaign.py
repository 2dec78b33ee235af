"""Give damaged files to their reader and judge what comes of each.

A reader is right if it refuses the file with an error of one sentence that names it, or returns
what a right file could have held. A traceback, a crash, a hang, a lot of memory, a message of
several lines, an accepted file with other content: all of these are faults.

Readers run in a process of their own, so that one that crashes or hangs ends only this.
"""

from __future__ import annotations

import gc
import json
import os
import random
import resource
import select
import signal
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mutate import Damage
from prune3d.errors import UserError

SECONDS, GIGABYTES = 20, 2
LONGEST = 1000


@dataclass(frozen=True)
class Target:
    """A kind of file and its reader.

    Attributes
    ----------
    path
        Where damaged files are put; its name is what an error must name.
    originals
        Contents of sound files of this kind.
    damage
        Makes a damaged content from a sound one.
    read
        Reads `path`.
    right
        Tells whether what was read is right for the damaged content.
    """

    path: Path
    originals: tuple[bytes, ...]
    damage: Damage
    read: Callable[[Path], Any]
    right: Callable[[Any, bytes], bool]


@dataclass
class Findings:
    """What came of a campaign: how many files were refused and read, and the faults by number."""

    counts: Counter[str] = field(default_factory=Counter)
    faults: dict[int, str] = field(default_factory=dict)

    def add(self, number: int, verdict: str) -> None:
        """Add the verdict on one file."""
        kind = verdict if verdict in ("refused", "read") else "fault"
        self.counts[kind] += 1
        if kind == "fault":
            self.faults[number] = verdict

    def __str__(self) -> str:
        kinds = Counter(self.faults.values())
        numbers = {text: n for n, text in reversed(self.faults.items())}
        lines = [f"{n} x, such as number {numbers[text]}: {text}" for text, n in kinds.items()]
        return "\n".join([", ".join(f"{k}: {n}" for k, n in sorted(self.counts.items())), *lines])


def content_of(target: Target, number: int, seed: int) -> bytes:
    """Return the damaged content of a number."""
    rng = random.Random(f"{seed}/{number}")
    original = rng.choice(target.originals)
    return target.damage(original, rng)


def judge(target: Target, content: bytes) -> str:
    """Return ``refused``, ``read``, or what is wrong."""
    target.path.unlink(missing_ok=True)
    target.path.write_bytes(content)
    try:
        value = target.read(target.path)
        return "read" if target.right(value, content) else "accepted with other content"
    except UserError as error:
        return _refusal(str(error), target.path.name)
    except BaseException as error:
        return f"{type(error).__name__}: {str(error)[:150]!r} at {_place(error)}"


def _refusal(text: str, name: str) -> str:
    if name not in text:
        return f"the file is not named: {text[:200]!r}"
    if "\n" in text or not text.endswith("."):
        return f"no single sentence: {text[:200]!r}"
    if len(text) > LONGEST or not text.isprintable():
        return f"too long or unprintable: {text[:200]!r}"
    return "refused"


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if "prune3d" in f.filename] or frames
    return f"{Path(own[-1].filename).name}:{own[-1].lineno}"


def run(target: Target, count: int, seed: int = 0) -> Findings:
    """Judge a number of damaged files; the same seed gives the same files."""
    findings, judged = Findings(), 0
    while judged < count:
        for number, verdict in _in_a_process(target, range(judged, count), seed):
            findings.add(number, verdict)
            judged = number + 1
    return findings


def _in_a_process(target: Target, numbers: range, seed: int) -> Iterator[tuple[int, str]]:
    """Yield verdicts, up to that of the file at which the process died or hung."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _work(target, numbers, seed, writing)
    os.close(writing)
    done = numbers.start
    ended = ""
    # Unbuffered, since select knows nothing of lines that wait in a buffer.
    with os.fdopen(reading, "rb", buffering=0) as stream:
        while True:
            if not select.select([stream], [], [], SECONDS)[0]:
                os.kill(child, signal.SIGKILL)
                ended = f"no answer within {SECONDS} seconds"
                break
            line = stream.readline()
            if not line:
                break
            yield done, json.loads(line)
            done += 1
    _, status = os.waitpid(child, 0)
    if done < numbers.stop:
        yield done, ended or f"the process ended with status {os.waitstatus_to_exitcode(status)}"


def _work(target: Target, numbers: range, seed: int, pipe: int) -> None:
    """Judge files in the child process, which never returns."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        gc.collect()  # What is freed later would be more than what is allowed.
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (used + GIGABYTES * 2**30, hard))
        for number in numbers:
            verdict = judge(target, content_of(target, number, seed))
            os.write(pipe, json.dumps(verdict).encode() + b"\n")
    except BaseException:
        verdict = f"the damage itself failed: {traceback.format_exc()[-500:]}"
        os.write(pipe, json.dumps(verdict).encode() + b"\n")
    finally:
        os._exit(0)
