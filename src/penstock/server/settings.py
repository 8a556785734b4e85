"""Every option of the server, in one frozen object.

An option is taken from the argument (`penstock serve --port`), else from its environment variable
(`PENSTOCK_PORT`), else from its default; `load_settings` does that.
"""

# ruff: noqa: RUF009 - `option` makes a dataclass field

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from penstock.server.memory_settings import MemorySettings
from penstock.server.option import option as _option
from penstock.server.package_settings import PackageSettings

MIB = 1024 * 1024
GIB = 1024 * MIB

#: What the environment variables begin with.
PREFIX = "PENSTOCK_"


def _default_data_dir() -> Path:
    base = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(base).expanduser() / "penstock"


@dataclass(frozen=True)
class Settings(MemorySettings, PackageSettings):
    """The server's options. Units are in the names: bytes, seconds (`_s`)."""

    data_dir: Path = _option(
        "Folder that holds records, files and memory.",
        factory=_default_data_dir,
        shown="~/.local/share/penstock",
    )
    database: str = _option(
        "PostgreSQL database of the records, postgresql://user:password@host:5432/name; empty: "
        "SQLite in the data folder.",
        "",
        secret=True,
    )
    host: str = _option("Address to listen on.", "127.0.0.1")
    port: int = _option("TCP port to listen on; 0 takes a free one.", 8700, least=0, most=65535)
    gateways: int = _option(
        "Processes that read requests and write answers on the port: the server process itself and "
        "so many less one that serve predict calls only.",
        1,
        least=1,
        most=64,
    )
    max_connections_per_address: int = _option(
        "Connections that one client address may hold to each gateway; behind a proxy all clients "
        "have its address.",
        4096,
        least=1,
    )
    admin_key: str = _option(
        "Key with admin scope, made known to the server at every start.",
        "",
        shown="made up once",
        secret=True,
    )
    secrets_key: str = _option(
        "Key that secrets are encrypted with, 32 bytes in base64; empty: the one in "
        "secrets_key_file.",
        "",
        shown="",
        secret=True,
    )
    secrets_key_file: str = _option(
        "File of the keys that secrets are encrypted with, made when missing; keep it away from "
        "the backups of the data folder. Empty: secrets.keys in the data folder.",
        "",
    )
    public_url: str = _option(
        "Address that clients reach the server by, for endpoint URLs; empty: the listening one.", ""
    )
    tls_cert: str = _option(
        "File with the certificate, and those that lead to its root, for HTTPS (PEM); read again "
        "on SIGHUP.",
        "",
    )
    tls_key: str = _option("File with the certificate's private key (PEM, no password).", "")
    allowed_hosts: str = _option(
        "Names that requests may address the server by, with commas between, besides addresses "
        "and localhost; empty: any, but pages of a server that listens on this machine only are "
        "shown under its own names only.",
        "",
    )
    cors_origins: str = _option(
        "Origins whose pages may call the API from a browser, with commas between "
        "(https://app.example.org); * for any, empty for none.",
        "",
    )
    max_address_bytes: int = _option(
        "Longest address (path and query) of a request.", 8192, least=256, most=65536
    )
    max_header_bytes: int = _option(
        "Most bytes of a request line and its header fields.", 16384, least=1024, most=MIB
    )
    max_header_fields: int = _option("Most header fields of a request.", 100, least=10, most=10_000)
    max_parts: int = _option("Most parts of a multipart body.", 10_000, least=1, most=1_000_000)
    max_nesting: int = _option(
        "Most levels of lists and objects in the JSON of a predict body.", 200, least=4, most=900
    )
    max_body_bytes: int = _option("Largest predict body.", 64 * MIB, least=1024, most=64 * GIB)
    max_blob_bytes: int = _option("Largest uploaded file.", 16 * GIB, least=1024)
    max_control_body_bytes: int = _option("Largest control request.", MIB, least=1024, most=GIB)
    max_manifest_bytes: int = _option(
        "Largest manifest, list of its files, or reference.", 8 * MIB, least=1024, most=GIB
    )
    max_control_items: int = _option(
        "Most lists and objects of a control request, and a fifth of its texts.", 100_000, least=100
    )
    max_result_bytes: int = _option(
        "Largest answer of a predict call.", GIB, least=256 * 1024, most=64 * GIB
    )
    project_storage_bytes: int = _option(
        "Most bytes of model files and functions of one project; 0: no limit.", 0, least=0
    )
    rate_limit_per_s: float = _option(
        "Requests that one key may make a second, over some time; 0: no limit. A key may have a "
        "limit of its own.",
        0.0,
        least=0,
        most=1_000_000,
    )
    rate_limit_burst: int = _option(
        "Requests that one key may make at once before the rate counts; 0: those of a second.",
        0,
        least=0,
        most=1_000_000,
    )
    audit_retention_s: float = _option(
        "Seconds that the audit log remembers; 0: for ever.", 365 * 86400.0, least=0
    )
    header_timeout_s: float = _option(
        "Seconds a client may take to send a request's headers.", 10.0, least=0.1, most=3600
    )
    body_timeout_s: float = _option(
        "Seconds a client may take to send a predict body.", 60.0, least=0.1, most=86400
    )
    idle_timeout_s: float = _option(
        "Seconds an idle kept-alive connection stays open.", 75.0, least=1, most=86400
    )
    unread_timeout_s: float = _option("Seconds an answer may lie unread.", 60.0, least=0.1)
    drain_s: float = _option(
        "Seconds that calls in hand get to finish when a version or the server stops.",
        30.0,
        least=0,
        most=3600,
    )
    version_idle_s: float = _option(
        "Seconds without a call after which a version that is not the active one is stopped.",
        60.0,
        least=0.05,
        most=86400,
    )
    starts_at_once: int = _option(
        "Versions that are started at the same time when the server starts.", 2, least=1, most=64
    )
    load_timeout_s: float = _option(
        "Seconds a version may take to load in a worker.", 300.0, least=0.1, most=86400
    )
    auto_rollback_s: float = _option(
        "Seconds during which a new version that starts failing is withdrawn and the version "
        "before it serves again; 0: never.",
        300.0,
        least=0,
        most=86400,
    )
    auto_rollback_calls: int = _option(
        "Calls that must be answered before a new version is judged by its errors.", 20, least=1
    )
    auto_rollback_functions: str = _option(
        "Whether a new version whose functions or models fail every call is withdrawn too.",
        "on",
        choices=("on", "off"),
    )
    runs_at_once: int = _option(
        "Asynchronous runs of one deployment that are with its replicas at the same time.",
        4,
        least=1,
        most=4096,
    )
    run_attempts: int = _option(
        "Times a run may be lost to the end of a worker or the server before it has failed.",
        5,
        least=1,
        most=1000,
    )
    run_lease_s: float = _option(
        "Seconds that a running run is held without a sign of life.", 30.0, least=0.1, most=3600
    )
    run_retention_s: float = _option(
        "Seconds that finished runs are kept.", 7 * 86400.0, least=1, most=10 * 365 * 86400
    )
    run_retention_count: int = _option("Finished runs that are kept, at most.", 1_000_000, least=1)
    max_open_runs: int = _option(
        "Runs that may be queued or running before more are refused with 429.", 100_000, least=1
    )
    webhook_allow: str = _option(
        "Addresses, networks, host names and ports that webhooks may call besides public ones, "
        "with commas between: 10.0.0.5, 10.0.0.0/8, hooks.internal:8080, [fd00::1]:8080, :25.",
        "",
    )
    webhook_timeout_s: float = _option(
        "Seconds a webhook's receiver may take to answer.", 10.0, least=0.1, most=60
    )
    webhook_body_bytes: int = _option(
        "Largest webhook; a run with a larger result is told with an address of the result.",
        MIB,
        least=1024,
    )
    file_ttl_s: float = _option(
        "Seconds that a file uploaded by a function is kept, unless it says otherwise.",
        86400.0,
        least=1,
        most=365 * 86400,
    )
    file_max_ttl_s: float = _option(
        "Longest time in seconds that a function may have a file kept.",
        7 * 86400.0,
        least=1,
        most=3650 * 86400,
    )
    file_bytes: int = _option("Largest file that functions may upload.", GIB, least=1024)
    files_total_bytes: int = _option(
        "Most bytes of uploaded files in one project.", 10 * GIB, least=1024
    )
    gpus: str = _option(
        "GPUs that replicas may use: auto for all that CUDA_VISIBLE_DEVICES leaves, none, or their "
        "numbers with commas between.",
        "auto",
    )
    max_replicas: int = _option(
        "Most worker processes of a deployment that names no number; 0: one for each core.",
        0,
        least=0,
        most=64,
    )
    prediction_log_days: int = _option(
        "Days that the local prediction log is kept; 0: for ever.", 30, least=0, most=36500
    )
    start_method: str = _option(
        "How workers start: fork from a prepared process, spawn afresh, or chosen by platform.",
        "auto",
        choices=("auto", "fork", "spawn"),
    )
    sandbox: str = _option(
        "How workers are confined, as far as the machine can: only as processes of their own; "
        "guarded by the kernel; or isolated in namespaces of their own as well.",
        "guarded",
        choices=("process", "guarded", "isolated"),
    )
    sandbox_required: str = _option(
        "Whether the server refuses to start, and workers to load, where they cannot be confined "
        "as `sandbox` says.",
        "off",
        choices=("on", "off"),
    )
    sandbox_read: str = _option(
        "Further files and folders that workers may read, with colons between: model caches, "
        "tables that functions look into.",
        "",
    )
    sandbox_write: str = _option(
        "Further folders that workers may write, with colons between; what one writes, all read.",
        "",
    )
    sandbox_users: str = _option(
        "First and last of the user ids that projects get, one each, where the server is root; "
        "empty: workers keep the server's user.",
        "200000-265535",
    )
    memory_guard: str = _option(
        "What holds the workers of a version to its memory limit: auto: the kernel, by control "
        "groups, where the server may make them; watchdog: the server alone, which looks twice a "
        "second.",
        "auto",
        choices=("auto", "watchdog"),
    )
    preload: str = _option(
        "Modules to import before the first deploy, with commas between: the first deploy is "
        "quicker, the idle server larger.",
        "",
    )
    models_with_code: str = _option(
        "Whether models are taken that can run code when they are loaded, such as pickles.",
        "allow",
        choices=("allow", "refuse"),
    )
    keep_successes: str = _option(
        "Which calls that went well are kept as runs: none, some (a sample of each version) or "
        "all. Calls that failed are always kept.",
        "some",
        choices=("none", "some", "all"),
    )
    keep_successes_per_minute: float = _option(
        "With keep_successes=some: calls of one version that are kept in a minute.",
        12.0,
        least=0.1,
        most=6000,
    )
    samples: str = _option(
        "What is kept and shown of the inputs and results of runs: full, redacted (types instead "
        "of values) or off.",
        "full",
        choices=("full", "redacted", "off"),
    )
    sample_bytes: int = _option(
        "Most bytes that are kept of an input, and of a result.",
        64 * 1024,
        least=256,
        most=16 * MIB,
    )
    insight_bytes: int = _option(
        "Largest size of the file of kept calls, logs and figures; the oldest go first.",
        GIB,
        least=16 * MIB,
    )
    log_lines: int = _option(
        "Lines that functions printed and logged that are kept.", 500_000, least=1000
    )
    metrics: str = _option(
        "Who may read /metrics: whoever has a key that may read (key), everybody (open), or nobody "
        "(off).",
        "key",
        choices=("key", "open", "off"),
    )
    traces: str = _option(
        "Where OpenTelemetry traces of calls go: otlp, console, off, or auto: to OTLP when "
        "OTEL_EXPORTER_OTLP_ENDPOINT is set and the SDK is installed.",
        "auto",
        choices=("auto", "otlp", "console", "off"),
    )
    log_level: str = _option(
        "Least severe log lines to print.", "info", choices=("debug", "info", "warning", "error")
    )
    log_format: str = _option(
        "Form of the server's own log lines: text, or json with one object a line.",
        "text",
        choices=("text", "json"),
    )
