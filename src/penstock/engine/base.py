"""What an engine does: start versions, answer calls, stop versions.

Everything here runs on the server's event loop. A `Call` goes down with its body as opaque bytes
and comes back through `on_done`, exactly once, whatever happens to the worker.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from penstock.codec.body_files import BodyFile
from penstock.codec.log_lines import Said
from penstock.codec.memory import WorkerAnswer, WorkerRequest
from penstock.core.errors import PenstockError
from penstock.core.run_records import ReplicaId
from penstock.engine.sandbox.state import SandboxState


@dataclass(frozen=True)
class VersionKey:
    """Which version: project, deployment, number."""

    project: str
    deployment: str
    number: int

    def __str__(self) -> str:
        return f"{self.project}/{self.deployment} version {self.number}"


@dataclass(frozen=True)
class Scale:
    """How many replicas a version may have.

    Attributes:
        low: Fewest; 0 lets it sleep: no process runs until a call comes, which waits meanwhile.
        high: Most; None leaves it to the engine, which adds one only while cores are idle.
        cooldown_s: Seconds after the last call until there are `low` replicas again.
    """

    low: int = 1
    high: int | None = None
    cooldown_s: float = 60.0

    @classmethod
    def fixed(cls, count: int) -> Scale:
        """Return the scale of a version that always has `count` replicas."""
        return cls(count, count)


@dataclass(frozen=True)
class Environment:
    """Where the workers of some versions find their interpreter and libraries.

    Attributes:
        key: What tells it from others; versions with the same key share a zygote.
        python: Its interpreter.
        path: Folder that has the `penstock` package, put first on the path.
        start: Program for `python -c`: gets `path`, the module whose `main` to call, its arguments.
    """

    key: str
    python: Path
    path: Path
    start: str


@dataclass(frozen=True)
class VersionSpec:
    """All an engine needs to run a version. Blob paths were verified by the caller.

    Attributes:
        concurrency: Runs at once in one replica, whose functions wait; at most 1024.
        replicas: Replicas to begin with, and for good where `scale` is None.
        scale: How many it may have later.
        find_blobs: For a version that starts asleep: returns the blob paths, verified. Called in a
            thread when the first call comes; raises what stands in its way.
        memory_limit_bytes: Private memory at which a replica is replaced; None for no limit.
        network: What its functions may reach: `"all"` or `"none"`.
        environment: Where its workers run; None for the server's own interpreter and libraries.
        find_secrets: Returns the secrets that the version declares, by name; asked for at every
            start of a replica. None if it declares none.
        hardware: `"CPU"`, `"GPU"`, or `"auto"`: a GPU where there is one and a model can use it.
        gpu: Devices that a replica gets when it runs on GPUs.
        can_use_gpu: Whether one of its models can.
    """

    key: VersionKey
    manifest: bytes
    blobs: Mapping[str, Path]
    preload: tuple[str, ...] = ()
    replicas: int = 1
    threads: int = 1
    max_batch: int = 256
    max_queue: int = 1024
    timeout_s: float = 180.0
    scale: Scale | None = None
    find_blobs: Callable[[], Mapping[str, Path]] | None = None
    memory_limit_bytes: int | None = None
    concurrency: int = 1
    network: str = "all"
    environment: Environment | None = None
    find_secrets: Callable[[], Awaitable[Mapping[str, str]]] | None = None
    hardware: str = "auto"
    gpu: int = 1
    can_use_gpu: bool = False


class Body:
    """A request body: `data` inline, or an open memory file (`fd`, `size`) when it is large.

    The engine closes `fd` when the call is done. `size` is in bytes.
    """

    __slots__ = ("data", "fd", "size")

    def __init__(self, data: bytes | None, fd: int = -1, size: int = 0) -> None:
        self.data = data
        self.fd = fd
        self.size = len(data) if data is not None else size

    def give_back(self) -> None:
        """A worker has answered the call: let go of what it read its body from."""


class FileBody(Body):
    """A large body in a file that is used again once its call is answered.

    Attributes:
        file: The file; `fd` is a descriptor of it that the engine closes, as of any body.
    """

    __slots__ = ("file",)

    def __init__(self, file: BodyFile, size: int) -> None:
        super().__init__(None, file.descriptor(), size)
        self.file: BodyFile | None = file

    def give_back(self) -> None:
        """Let the file be used again: the worker has a copy."""
        file, self.file = self.file, None
        if file is not None:
            file.give_back()


class Answer:
    """What came back for a call.

    Attributes:
        code: `""` on success, else an error code of `penstock.core.errors`.
        media: A `MEDIA_*` constant of `penstock.codec.frames`.
        timing: Text of the `Server-Timing` header.
        body: The whole answer's body (bytes-like).
        error: Set instead of a body when the engine, not the worker, answers (`code` is set too).
        replica: The replica that answered or had begun the call; None if none had.
    """

    __slots__ = ("body", "code", "error", "media", "replica", "timing")

    def __init__(
        self,
        code: str = "",
        media: int = 0,
        timing: bytes = b"",
        body: bytes | memoryview = b"",
        error: PenstockError | None = None,
        replica: ReplicaId | None = None,
    ) -> None:
        self.code = code
        self.media = media
        self.timing = timing
        self.body = body
        self.error = error
        self.replica = replica


class Call:
    """One predict call on its way. `arrived_ns` and `deadline_ns` are `time.monotonic_ns()`.

    Attributes:
        caller: Who calls; calls that have to wait are taken from all callers in turn.
    """

    __slots__ = (
        "arrived_ns",
        "body",
        "caller",
        "deadline_ns",
        "flags",
        "media_type",
        "on_done",
        "run_id",
        "state",
    )

    def __init__(
        self,
        run_id: str,
        media_type: bytes,
        body: Body,
        arrived_ns: int,
        deadline_ns: int,
        on_done: Callable[[Call, Answer], None],
        flags: int = 0,
    ) -> None:
        self.run_id = run_id
        self.media_type = media_type
        self.body = body
        self.arrived_ns = arrived_ns
        self.deadline_ns = deadline_ns
        self.on_done = on_done
        self.flags = flags
        self.caller = ""
        self.state: Any = None  # the engine's own bookkeeping


@dataclass(frozen=True)
class ReplicaStatus:
    """One worker process as people see it; `number` is that of its `ReplicaId`."""

    pid: int
    state: str
    started_at: float
    calls: int
    in_flight: int
    restarts: int = 0
    facts: Mapping[str, Any] = field(default_factory=dict)
    number: int = 1


@dataclass(frozen=True)
class PoolHealth:
    """How the replicas of a pool fare.

    Attributes:
        deaths: Replicas that ended unasked or did not load, since the pool was started.
        in_a_row: Those since a replica last did well. 3 and more with none ready: quarantine.
        next_start_at: When the next one is started, in seconds since the epoch; 0: none waits.
        reason: How the last one ended.
    """

    deaths: int = 0
    in_a_row: int = 0
    next_start_at: float = 0.0
    reason: str = ""


class Pool(Protocol):
    """The running replicas of one version."""

    @property
    def key(self) -> VersionKey:
        """The version."""

    def submit(self, call: Call) -> None:
        """Take a call. `call.on_done` is called exactly once, later or at once."""

    def cancel(self, call: Call) -> None:
        """Forget `call`: nobody waits for it. Skip it if not begun; `on_done` is not called."""

    def status(self) -> list[ReplicaStatus]:
        """Return the replicas."""

    def health(self) -> PoolHealth:
        """Return how the replicas fare."""

    def keep_waiting(self, wanted: bool) -> None:
        """Let calls wait (or not) while replicas die again and again, instead of refusing them."""

    def release(self) -> list[Call]:
        """Forget the calls that no replica has begun, and return them, oldest first.

        They are answered by whoever asked for them: `on_done` is not called here.
        """

    def scale(self, scale: Scale) -> None:
        """Take new limits for the number of replicas."""

    def facts(self) -> Mapping[str, Any]:
        """Return what people may know of the pool: `wanted`, `why`, `template`."""

    def logs(self) -> list[str]:
        """Return the last lines the replicas printed, oldest first (200 at most)."""

    async def stop(self, drain_s: float) -> None:
        """Take no more calls, answer those taken within `drain_s` seconds, end the replicas."""


class Engine(Protocol):
    """Runs versions. One per server process."""

    @property
    def sandbox(self) -> SandboxState | None:
        """How workers are confined; None: not at all."""

    async def start(self, spec: VersionSpec, on_line: Callable[[str], None] | None = None) -> Pool:
        """Start the version's replicas and return when the first is ready and the rest are begun.

        With `spec.replicas` 0 it returns at once; the first call starts a replica and waits for it.
        `on_line` gets every line that the version's workers print, as they print it.

        Raises:
            LoadFailed: It did not load; `facts["logs"]` holds the last lines printed, `stage` and
                `function` tell where it stopped when known.
        """

    async def warm(self, modules: tuple[str, ...]) -> None:
        """Import libraries ahead of the first version that needs them.

        Those of the server's own environment; others are imported when a version starts.
        """

    async def close(self, drain_s: float) -> None:
        """Stop everything and leave no process behind."""


#: Answers what a worker asks on its memory socket. A descriptor in the request stays the engine's.
MemoryHandler = Callable[[VersionKey, WorkerRequest], Awaitable[WorkerAnswer]]

#: Gets the lines that workers of a version print, each with the run that printed it.
SaidHandler = Callable[[VersionKey, list[Said]], None]
