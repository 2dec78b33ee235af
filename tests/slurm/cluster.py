"""A real SLURM of one node for the tests: munged, slurmctld and slurmd on loopback.

Everything lies in one temporary folder and uses spare ports; nothing under /etc is touched. It runs
as root or as an unprivileged user. Memory is scheduled but not enforced, and there is no accounting
database: the job completion log is the record to assert on.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

CLIENTS = ("sbatch", "srun", "squeue", "scontrol", "scancel", "sinfo", "sacct")
NEEDED = ("munged", "slurmctld", "slurmd", *CLIENTS)
PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])

CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ctld_port}
SlurmdPort={slurmd_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={dir}/munge.sock,cred_expire=10
CredType=cred/munge
MpiDefault=none
SwitchType=switch/none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc={dir}/completed.txt
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_interval=1
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
GresTypes=gpu
ReturnToService=2
KillWait=5
MinJobAge=3600
EnforcePartLimits=ALL
JobRequeue=1
DefMemPerCPU=500
StateSaveLocation={dir}/state
SlurmdSpoolDir={dir}/spool
SlurmctldPidFile={dir}/slurmctld.pid
SlurmdPidFile={dir}/slurmd.pid
SlurmctldLogFile={dir}/slurmctld.log
SlurmdLogFile={dir}/slurmd.log
SlurmdParameters=config_overrides
SlurmctldTimeout=30
SlurmdTimeout=30
NodeName={host} NodeAddr=127.0.0.1 Port={slurmd_port} {size} State=UNKNOWN
PartitionName=cpu Nodes={host} Default=YES MaxTime=INFINITE State=UP
PartitionName=gpu Nodes={host} MaxTime=INFINITE State=UP
"""


def missing_packages() -> str | None:
    """Return why no SLURM can be started here, or None."""
    absent = [name for name in NEEDED if shutil.which(name, path=PATH) is None]
    return f"not installed: {', '.join(absent)} (apt install slurm-wlm munge)" if absent else None


@dataclass(frozen=True)
class Completed:
    """A line of the job completion log: one end of a job, requeued ones included."""

    job: int
    state: str
    fields: dict[str, str]


@dataclass
class Cluster:
    """A cluster in a folder.

    Attributes
    ----------
    folder
        Its files.
    cpus, memory, gpus
        What its node claims to have; memory in MB.
    """

    folder: Path
    cpus: int = 4
    memory: int = 64000
    gpus: int = 4
    host: str = field(default_factory=lambda: socket.gethostname().split(".")[0])
    _daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __enter__(self) -> Cluster:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    @property
    def environment(self) -> dict[str, str]:
        """Environment for commands that use this cluster."""
        path = os.pathsep.join([str(self.folder / "bin"), PATH])
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "SBATCH_"))}
        return {**clean, "PATH": path, "SLURM_CONF": str(self.folder / "slurm.conf")}

    def start(self) -> None:
        """Start the three daemons and wait until the node is idle."""
        for name in ("state", "spool", "bin"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self._write_configuration()
        self._start_munged()
        self.start_controller()
        self._launch("slurmd", "-D", "-N", self.host, "-f", str(self.folder / "slurm.conf"))
        self._wait(lambda: self.node_state() == "idle", "the node is not idle")

    def stop(self) -> None:
        """End all jobs, then the daemons."""
        if "slurmctld" in self._daemons:
            self._end_jobs()
        for name in ("slurmctld", "slurmd", "munged"):
            self._end(name, signal.SIGTERM)
        # Snakemake inside a cancelled job sometimes hangs after its last line.
        self._kill_those(f"SLURM_CONF={self.folder / 'slurm.conf'}")

    def start_controller(self) -> None:
        """Start slurmctld, which takes up what it finds in its state folder."""
        self._launch("slurmctld", "-D", "-f", str(self.folder / "slurm.conf"))
        self._wait(lambda: bool(self.node_state()), "slurmctld does not answer")

    def restart_controller(self) -> None:
        """End slurmctld and start it again."""
        self.stop_controller()
        self.start_controller()

    def stop_controller(self) -> None:
        """End slurmctld, which saves its state."""
        self._end("slurmctld", signal.SIGTERM)

    def call(self, *command: str) -> str:
        """Run a client command and return what it prints."""
        done = subprocess.run(
            ["timeout", "20", *command],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
        return done.stdout

    def node_state(self) -> str:
        """Return the node's state, or nothing where the controller does not answer."""
        try:
            return self.call("sinfo", "-h", "-p", "cpu", "-o", "%t").strip()
        except RuntimeError:
            return ""

    def jobs(self, *states: str) -> dict[int, str]:
        """Return the comments of the jobs in some states, by job number."""
        chosen = ",".join(states) or "all"
        text = self.call("squeue", "-h", "-t", chosen, "-o", "%i|%k")
        rows = [line.split("|", 1) for line in text.splitlines()]
        return {int(number): comment for number, comment in rows}

    def show(self, job: int) -> dict[str, str]:
        """Return what `scontrol show job` says."""
        words = self.call("scontrol", "-o", "show", "job", str(job)).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def kill_processes(self, job: int) -> None:
        """Kill all that a job has on its node, SLURM's own part included, as when power fails."""
        self._wait(lambda: not self._killed(job), f"the processes of job {job} do not end")

    def _killed(self, job: int) -> int:
        """Kill the processes of a job that are left and return how many there were."""
        return self._kill_those(f"SLURM_JOB_ID={job}", f"slurmstepd: [{job}.")

    @staticmethod
    def _kill_those(setting: str, title: str | None = None) -> int:
        """Kill processes with a setting in their environment, or a title; return how many."""
        left = 0
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                environment = (folder / "environ").read_bytes().split(b"\0")
                line = (folder / "cmdline").read_bytes()
                titled = title is not None and line.startswith(title.encode())
                if setting.encode() in environment or titled:
                    os.kill(int(folder.name), signal.SIGKILL)
                    left += 1
        return left

    def completed(self) -> list[Completed]:
        """Return the job completion log, oldest first."""
        path = self.folder / "completed.txt"
        lines = path.read_text().splitlines() if path.exists() else []
        found = []
        for line in lines:
            fields = dict(word.split("=", 1) for word in line.split() if "=" in word)
            found.append(Completed(int(fields["JobId"]), fields["JobState"], fields))
        return found

    def _end_jobs(self) -> None:
        """Kill all jobs, and wait for their processes, which would be left without the daemons."""
        kill = ["scancel", "--full", "--signal=KILL", f"--user={getpass.getuser()}"]
        with contextlib.suppress(RuntimeError):
            self.call(*kill)
            self._wait(lambda: not self.call("squeue", "-h", "-t", "PD,R,CG"), "jobs do not end")

    def _write_configuration(self) -> None:
        ctld_port, slurmd_port = spare_ports(2)
        text = CONF.format(
            host=self.host,
            ctld_port=ctld_port,
            slurmd_port=slurmd_port,
            user=getpass.getuser(),
            dir=self.folder,
            size=f"CPUs={self.cpus} RealMemory={self.memory} Gres=gpu:{self.gpus}",
        )
        (self.folder / "slurm.conf").write_text(text)
        devices = self._devices()
        lines = [f"NodeName={self.host} Name=gpu File={device}\n" for device in devices]
        (self.folder / "gres.conf").write_text("".join(lines))
        # Snakemake's SLURM plugin drops SLURM_CONF from the environment inside a job.
        for name in CLIENTS:
            program = shutil.which(name, path=PATH)
            wrapper = self.folder / "bin" / name
            wrapper.write_text(
                f'#!/bin/sh\nSLURM_CONF={self.folder}/slurm.conf exec {program} "$@"\n'
            )
            wrapper.chmod(0o755)

    def _devices(self) -> list[str]:
        """Return one character device a GPU; plain files are refused by slurmd."""
        wanted = [self.folder / f"nvidia{i}" for i in range(self.gpus)]
        try:
            for path in wanted:
                os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        except PermissionError:
            spare = [f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom")]
            return [path for path in spare if Path(path).is_char_device()][: self.gpus]
        return [str(path) for path in wanted]

    def _start_munged(self) -> None:
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        files = {
            "socket": "munge.sock",
            "key-file": "munge.key",
            "pid-file": "munged.pid",
            "log-file": "munged.log",
            "seed-file": "munged.seed",
        }
        options = [f"--{name}={self.folder / file}" for name, file in files.items()]
        self._launch("munged", "--foreground", "--force", *options)
        self._wait((self.folder / "munge.sock").exists, "munged does not start")

    def _launch(self, name: str, *arguments: str) -> None:
        program = shutil.which(name, path=PATH)
        assert program is not None
        with (self.folder / f"{name}.out").open("ab") as stream:
            self._daemons[name] = subprocess.Popen(
                [program, *arguments],
                env=self.environment,
                stdout=stream,
                stderr=stream,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def _end(self, name: str, how: signal.Signals) -> None:
        process = self._daemons.pop(name, None)
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _wait(self, happened: Callable[[], bool], otherwise: str, seconds: float = 20) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if happened():
                return
            dead = [name for name, process in self._daemons.items() if process.poll() is not None]
            if dead:
                break
            time.sleep(0.1)
        logs = [
            f"{path.name}:\n{path.read_text(errors='replace')[-1500:]}"
            for path in sorted([*self.folder.glob("*.log"), *self.folder.glob("*.out")])
        ]
        raise RuntimeError("\n".join([otherwise, *logs]))


def spare_ports(count: int) -> list[int]:
    """Return ports of 127.0.0.1 that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports
