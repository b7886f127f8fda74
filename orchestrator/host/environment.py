"""The variables that child processes get of the environment: an allow-list by purpose, decided here for all of them.

A training, the server of MLflow or a command of the user's runs code of others, and may be asked for its environment by
whoever can run code as this user. So no child gets credentials that it does not use: every child gets `EVERYBODY`,
and each kind of child what its purpose adds. The cluster file adds names for each of them (`environment`), a stage the
ones that its jobs read (`StageSpec.environment`).

A pattern is a name, or a name with one `*` at its beginning or end.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from workloads.runtime.secret_names import mentions_secret

EVERYBODY: Mapping[str, tuple[str, ...]] = {
    "user, shell and language": (
        *("HOME", "USER", "LOGNAME", "SHELL", "PATH", "PWD", "HOSTNAME", "TERM", "TZ", "LANG", "LANGUAGE", "LC_*"),
        *("TMPDIR", "TMP", "TEMP", "XDG_*", "MALLOC_*", "GLIBC_*"),
    ),
    "Python": (
        *("PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE", "PYTHONHASHSEED", "PYTHONFAULTHANDLER", "PYTHONMALLOC"),
        *("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX", "PYTHONUNBUFFERED", "PYTHONWARNINGS", "PYTHONUTF8"),
        *("PYTHONIOENCODING", "PYTHONNOUSERSITE", "PYTHONSAFEPATH", "PYTHONTRACEMALLOC", "PYTHONDEVMODE"),
        *("VIRTUAL_ENV", "CONDA_PREFIX*", "CONDA_DEFAULT_ENV", "CONDA_EXE", "CONDA_PYTHON_EXE", "CONDA_SHLVL"),
    ),
    "libraries, compilers and toolchains": (
        *("LD_*", "CC", "CXX", "FC", "F77", "CPP", "AR", "CFLAGS", "CXXFLAGS", "CPPFLAGS", "FFLAGS", "LDFLAGS"),
        *("*_LICENSE_FILE", "PERL5LIB", "R_LIBS*", "JULIA_*"),
        *("CPATH", "MAX_JOBS", "NVCC_*", "CUDAHOSTCXX", "CCACHE_*", "EBROOT*", "EBVERSION*", "EBDEVEL*", "SPACK_*"),
    ),
    "environment modules": (
        *("MODULEPATH*", "MODULESHOME", "MODULES_*", "MODULERCFILE", "LOADEDMODULES", "_LMFILES_*", "LMOD_*"),
        *("__LMOD_*", "__MODULES_*", "_ModuleTable*", "BASH_ENV", "BASH_FUNC_module*", "BASH_FUNC_ml*"),
        *("BASH_FUNC__module*",),
    ),
    "places that modules and installations name": (
        *("*_HOME", "*_ROOT", "*ROOT", "*_DIR", "*_PATH", "*_PREFIX", "*_BASE", "*_LIB", "*_LIBDIR", "*_LIBRARY"),
        *("*_INC", "*_INCLUDE"),
    ),
    "devices": (
        *("CUDA_*", "CUDA", "CUDNN_*", "CUBLAS*", "CUTLASS_*", "CUSPARSE*", "NVIDIA_*", "NVTE_*", "NVSHMEM_*"),
        *("NCCL_*", "RCCL_*", "HIP_*", "HIPBLASLT_*", "ROCR_*", "ROCM_*", "ROCBLAS_*", "HSA_*", "GPU_*", "MIOPEN_*"),
        *("AMD_*", "ZE_*", "SYCL_*", "ONEAPI_*", "CCL_*", "GLOO_*", "UCX_*", "UCC_*", "FI_*", "IBV_*", "RDMAV_*"),
        *("MLX5_*", "PSM2_*", "HFI_*", "OMPI_MCA_*"),
    ),
    "numerics and threads": (
        *("TORCH_*", "TORCHINDUCTOR_*", "TORCHDYNAMO_*", "PYTORCH_*", "ATEN_*", "TRITON_*", "DS_*", "DEEPSPEED_*"),
        *("DNNL_*", "ONEDNN_*", "DISABLE_ADDMM_CUDA_LT", "MKL_*", "OMP_*", "KMP_*", "GOMP_*", "OPENBLAS_*", "GOTO_*"),
        *("JAX_*", "XLA_*", "TF_CPP_*", "TF_ENABLE_*", "TF_FORCE_*", "TF_GPU_*", "TF_XLA_FLAGS"),
        *("BLIS_*", "NVPL_*", "ARMPL_*", "NUMEXPR_*", "NPY_*", "NUMBA_*", "TBB_*", "TOKENIZERS_PARALLELISM"),
    ),
    "rendering": (
        *("EGL_*", "__EGL_*", "__GLX_*", "LIBGL_*", "MESA_*", "VK_*", "MUJOCO_GL", "PYOPENGL_PLATFORM"),
        *("SDL_VIDEODRIVER",),
    ),
    "network": (
        *("http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy"),
        *("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "ALL_PROXY", "NO_PROXY"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE"),
        *("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",),
    ),
    "caches of models and plots": (
        *("HF_HUB_CACHE", "HF_HUB_OFFLINE", "HF_DATASETS_CACHE", "HF_DATASETS_OFFLINE", "HUGGINGFACE_HUB_CACHE"),
        *("TRANSFORMERS_CACHE", "TRANSFORMERS_OFFLINE", "MPLCONFIGDIR", "MPLBACKEND"),
    ),
    # The last two are of tests: where a process is to die, and by what all processes of a run are found afterwards.
    "echo-matrix": ("ECHO_MATRIX_HOME", "ECHO_MATRIX_FAKE_S", "ECHO_MATRIX_FAULTS", "ECHO_MATRIX_TEST_MARK"),
}
"""Purpose -> patterns of what every child gets. None of them but the proxies' may hold a credential."""

RAY = ("RAY_*",)
"""For the process that holds Ray, besides what the jobs get whose hosts it starts."""
SLURM = ("SLURM_*", "SLURMD_*")
"""For what runs in a job of SLURM."""
STORES: Mapping[str, tuple[str, ...]] = {"s3": ("AWS_*",)}
"""Kind of store -> for the processes that read and write it: the controller, and hosts, but no job."""
TRACKING = ("MLFLOW_*",)
"""For the process that writes to MLflow."""
TRACKING_SERVER = ("AWS_*", "GOOGLE_APPLICATION_CREDENTIALS", "AZURE_*", "DATABRICKS_*", "PG*")
"""For it too, where the runs are on a server: MLflow's client puts artifacts into the server's bucket by itself."""
COMMAND = ("DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "DBUS_SESSION_BUS_ADDRESS", "EMAIL")
"""For the command `on_event`: where to show a message."""


@dataclass(frozen=True, kw_only=True)
class JobVariables:
    """Patterns of the variables that jobs get beyond those of everybody."""

    every: tuple[str, ...] = ()
    """Of all jobs."""
    stages: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Stage -> those of its jobs alone."""

    def of(self, stage: str) -> tuple[str, ...]:
        """For the jobs of one stage."""
        return (*self.every, *self.stages.get(stage, ()))

    @property
    def of_any(self) -> tuple[str, ...]:
        """For the processes that start jobs of all stages, and hand each its own."""
        return (*self.every, *(pattern for patterns in self.stages.values() for pattern in patterns))

    def as_json(self) -> dict[str, Any]:
        """For the description of a host."""
        return asdict(self)

    @classmethod
    def from_json(cls, read: Mapping[str, Any]) -> "JobVariables":
        """What `as_json` gave."""
        stages = {stage: tuple(patterns) for stage, patterns in read["stages"].items()}
        return cls(every=tuple(read["every"]), stages=stages)


NOTHING_MORE = JobVariables()
"""What everybody gets is all that jobs get."""


def patterns_of_hosts(description: Mapping[str, Any]) -> tuple[str, ...]:
    """For the processes on a host that start jobs and write their results, as its description says."""
    variables = JobVariables.from_json(description["variables"])
    return (*variables.of_any, *STORES.get(description["store"]["kind"], ()))


def passed(environment: Mapping[str, str], more: Iterable[str] = ()) -> dict[str, str]:
    """The variables of a child: of `environment`, those of everybody and those that `more` matches.

    A pattern of `EVERYBODY` with a `*` matches no name of a credential: `NVIDIA_*` does not match `NVIDIA_API_KEY`.
    """
    more = tuple(more)
    return {name: value for name, value in environment.items() if _is_everybodys(name) or _matches(name, more)}


def withheld(environment: Mapping[str, str], more: Iterable[str] = ()) -> list[str]:
    """The names that a child does not get, in order."""
    return sorted(environment.keys() - passed(environment, more).keys())


def credentials_in(names: Iterable[str]) -> list[str]:
    """Those of the names that look like the name of a credential."""
    return [name for name in names if mentions_secret(name)]


_PATTERNS = tuple(pattern for patterns in EVERYBODY.values() for pattern in patterns)
_EXACT = frozenset(pattern for pattern in _PATTERNS if "*" not in pattern)
_BEGINNINGS = tuple(pattern[:-1] for pattern in _PATTERNS if pattern.endswith("*"))
_ENDS = tuple(pattern[1:] for pattern in _PATTERNS if pattern.startswith("*"))


def _is_everybodys(name: str) -> bool:
    if name in _EXACT:
        return True
    return (name.startswith(_BEGINNINGS) or name.endswith(_ENDS)) and not mentions_secret(name)


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(
        name == pattern
        or (pattern.endswith("*") and name.startswith(pattern[:-1]))
        or (pattern.startswith("*") and name.endswith(pattern[1:]))
        for pattern in patterns
    )
