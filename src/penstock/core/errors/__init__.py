"""Every error of Penstock, in one tree.

    PenstockError
    ├── InvalidDeploy        what was given to `deploy` or `Conduit`; nothing was sent
    │   ├── InvalidFlow (ValueError)      InvalidStage (TypeError)     InvalidName (ValueError)
    │   ├── InvalidSignature (TypeError)  MissingModelFile (ValueError)
    │   ├── CaptureTooLarge               CaptureNotPicklable
    │   ├── MissingImports                InterpreterMismatch         InvalidCall (TypeError)
    │   └── InvalidManifest               InvalidRequirement (ValueError)
    ├── RequestError         what a caller sent
    │   ├── MalformedBody     BodyTooLarge     UnsupportedMedia   SlowBody
    │   ├── HeadersTooLarge   AddressTooLong
    │   ├── Unauthorized      Forbidden        NotFound           MethodNotAllowed   Conflict
    │   ├── InputMismatch     FilesNotUsed     Overloaded         InvalidSetting
    │   └── BlobCorrupt       BlobMissing
    │   ├── RateLimited       StorageFull      SecretNotSet
    ├── FlowError            user code and models at run time
    │   ├── FunctionFailed    ReturnedNone     StageMismatch      ModelFailed
    │   ├── UnknownBranch
    │   ├── ResultNotSerialisable              MemoryQuotaExceeded
    │   └── ResultTooLarge    SecretMissing
    ├── EngineError          workers
    │   ├── LoadFailed        ExampleFailed      VersionWithdrawn   EnvironmentFailed
    │   ├── WorkerDied        NotReady         DeadlineExceeded
    │   └── SandboxUnavailable
    ├── StoreError           the server's own state
    │   └── StoreUnavailable  DiskFull
    ├── ClientError          between client and server
    │   ├── ServerUnreachable                  NoKey              UnexpectedAnswer
    │   └── MissingFramework (ImportError)
    └── InternalError        a defect of Penstock; details are in the server's log
        └── FrameError

An error carries what happened (`message`), to which thing (`stage`, `function`) and what to do
(`hint`). `code` is stable and is what HTTP clients branch on. HTTP statuses live in
`penstock.server.errors`, nowhere else.
"""

from __future__ import annotations

from penstock.core.errors.between import (
    ClientError,
    DiskFull,
    FrameError,
    InternalError,
    MissingFramework,
    NoKey,
    ServerUnreachable,
    StoreError,
    StoreUnavailable,
    UnexpectedAnswer,
)
from penstock.core.errors.deploying import (
    CaptureNotPicklable,
    CaptureTooLarge,
    InterpreterMismatch,
    InvalidCall,
    InvalidDeploy,
    InvalidFlow,
    InvalidManifest,
    InvalidName,
    InvalidRequirement,
    InvalidSignature,
    InvalidStage,
    MissingImports,
    MissingModelFile,
    ModelRunsCode,
    UndefinedName,
)
from penstock.core.errors.error import FOR_DEPLOYERS, SHOWN_LOG_LINES, PenstockError
from penstock.core.errors.requests import (
    AddressTooLong,
    BlobCorrupt,
    BlobMissing,
    BodyTooLarge,
    Conflict,
    FilesNotUsed,
    Forbidden,
    Gone,
    HeadersTooLarge,
    InputMismatch,
    InvalidSetting,
    InvalidWebhookUrl,
    MalformedBody,
    MethodNotAllowed,
    NotFound,
    Overloaded,
    RateLimited,
    RequestError,
    SecretNotSet,
    SlowBody,
    StorageFull,
    Unauthorized,
    UnsupportedMedia,
)
from penstock.core.errors.running import (
    FileQuotaExceeded,
    FlowError,
    FunctionFailed,
    MemoryQuotaExceeded,
    ModelFailed,
    ResultNotSerialisable,
    ResultTooLarge,
    ReturnedNone,
    SecretMissing,
    StageMismatch,
    UnknownBranch,
    UploadFailed,
)
from penstock.core.errors.workers import (
    DeadlineExceeded,
    EngineError,
    EnvironmentFailed,
    ExampleFailed,
    LoadFailed,
    NotReady,
    SandboxUnavailable,
    VersionWithdrawn,
    WorkerDied,
)

# After the modules above, whose classes it lists.
from penstock.core.errors.catalogue import BY_CODE, all_errors, from_dict  # isort: skip

__all__ = [
    "BY_CODE",
    "FOR_DEPLOYERS",
    "SHOWN_LOG_LINES",
    "AddressTooLong",
    "BlobCorrupt",
    "BlobMissing",
    "BodyTooLarge",
    "CaptureNotPicklable",
    "CaptureTooLarge",
    "ClientError",
    "Conflict",
    "DeadlineExceeded",
    "DiskFull",
    "EngineError",
    "EnvironmentFailed",
    "ExampleFailed",
    "FileQuotaExceeded",
    "FilesNotUsed",
    "FlowError",
    "Forbidden",
    "FrameError",
    "FunctionFailed",
    "Gone",
    "HeadersTooLarge",
    "InputMismatch",
    "InternalError",
    "InterpreterMismatch",
    "InvalidCall",
    "InvalidDeploy",
    "InvalidFlow",
    "InvalidManifest",
    "InvalidName",
    "InvalidRequirement",
    "InvalidSetting",
    "InvalidSignature",
    "InvalidStage",
    "InvalidWebhookUrl",
    "LoadFailed",
    "MalformedBody",
    "MemoryQuotaExceeded",
    "MethodNotAllowed",
    "MissingFramework",
    "MissingImports",
    "MissingModelFile",
    "ModelFailed",
    "ModelRunsCode",
    "NoKey",
    "NotFound",
    "NotReady",
    "Overloaded",
    "PenstockError",
    "RateLimited",
    "RequestError",
    "ResultNotSerialisable",
    "ResultTooLarge",
    "ReturnedNone",
    "SandboxUnavailable",
    "SecretMissing",
    "SecretNotSet",
    "ServerUnreachable",
    "SlowBody",
    "StageMismatch",
    "StorageFull",
    "StoreError",
    "StoreUnavailable",
    "Unauthorized",
    "UndefinedName",
    "UnexpectedAnswer",
    "UnknownBranch",
    "UnsupportedMedia",
    "UploadFailed",
    "VersionWithdrawn",
    "WorkerDied",
    "all_errors",
    "from_dict",
]
