"""Which kernels are used and why: builds, versions, sanitizers' folders, threads, choices."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from lamina.errors import InputError
from lamina.kernels import native
from lamina.kernels.native import choices, digest, library

NATIVE = Path(__file__).parents[3] / "native"
needs_kernels = pytest.mark.skipif(
    not native.is_active(), reason=f"native kernels are not in use: {native.explanation()}"
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A copy of the libraries that a test may spoil; Lamina looks there."""
    for file in Path(library.__file__).parent.glob("*.so"):
        shutil.copy(file, tmp_path)
    monkeypatch.setenv("LAMINA_KERNELS_FOLDER", str(tmp_path))
    library._found.cache_clear()
    yield tmp_path
    library._found.cache_clear()


def spoil(folder, old, new):
    """Replace bytes in all libraries by as many others."""
    assert len(old) == len(new)
    for file in folder.glob("*.so"):
        content = file.read_bytes()
        file.unlink()  # the process that has it loaded keeps it
        file.write_bytes(content.replace(old, new))


@needs_kernels
def test_a_library_of_other_sources_is_not_used(folder):
    spoil(folder, digest.expected(folder).encode(), b"0123456789abcdef")
    assert not native.is_active()
    assert "was built from other sources: run python native/build.py" in native.explanation()


@needs_kernels
def test_an_installed_wheel_goes_by_the_digest_of_its_build(folder, monkeypatch):
    built = digest.expected(folder)
    monkeypatch.setattr(digest, "sources", lambda: None)
    assert "other sources: install Lamina again" in native.explanation()
    (folder / digest.FILE).write_text(built + "\n")
    library._found.cache_clear()
    assert native.is_active()


def test_where_nothing_was_built_the_compiler_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("LAMINA_KERNELS_FOLDER", str(tmp_path))
    monkeypatch.setattr(library.platform, "machine", lambda: "x86_64")
    library._found.cache_clear()
    try:
        assert not native.is_active()
        assert "no native kernels were built, which takes a C++ compiler" in native.explanation()
    finally:
        library._found.cache_clear()


@needs_kernels
def test_a_jax_that_refuses_the_interface_is_named(folder, monkeypatch):
    def refuse(name, kernel):
        raise RuntimeError("incompatible with the framework's API version (1.0)")

    monkeypatch.setattr(library, "_introduce", refuse)
    assert not native.is_active()
    expected = f"XLA (JAX {jax.__version__} does not take the native kernels' interface version 0."
    assert native.explanation().startswith(expected)


def test_the_interface_is_the_one_that_the_oldest_supported_jax_speaks():
    header = (NATIVE / "third_party/xla/ffi/api/c_api.h").read_text()
    assert "#define XLA_FFI_API_MAJOR 0\n" in header
    assert "#define XLA_FFI_API_MINOR 3\n" in header  # that of JAX 0.10.0


def test_the_digest_knows_every_source_but_tests(tmp_path):
    copy = tmp_path / "native"
    shutil.copytree(NATIVE, copy)
    before = digest.of_sources(copy)
    (copy / "tests" / "check.cc").write_text("")
    assert digest.of_sources(copy) == before == digest.of_sources(NATIVE)
    (copy / "third_party/xla/ffi/api/c_api.h").write_text("")
    assert digest.of_sources(copy) != before


def test_a_folder_without_compiler_says_so(tmp_path):
    environment = {"PATH": str(tmp_path), "CXX": ""}
    command = [sys.executable, str(NATIVE / "build.py"), "--into", str(tmp_path / "new")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert "no C++ compiler was found" in done.stderr


@pytest.mark.parametrize(
    ("environment", "threads"),
    [
        ({}, 0),
        ({"LAMINA_NUM_THREADS": "3", "OMP_NUM_THREADS": "1"}, 3),
        ({"LAMINA_NUM_THREADS": "0", "OMP_NUM_THREADS": "1"}, 0),
        ({"OMP_NUM_THREADS": "4,2"}, 4),
        ({"OMP_NUM_THREADS": "4", "LOKY_MAX_CPU_COUNT": "2"}, 2),
        ({"OMP_NUM_THREADS": "many"}, 0),
    ],
)
def test_threads_are_bounded_by_the_environment(environment, threads, monkeypatch):
    for name in ("LAMINA_NUM_THREADS", *library.SHARES):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert library.threads() == threads


def test_threads_that_are_no_number_are_refused(monkeypatch):
    monkeypatch.setenv("LAMINA_NUM_THREADS", "two")
    with pytest.raises(InputError, match="expected a whole number of threads, got 'two'"):
        library.threads()


def test_processes_of_a_parallel_search_share_the_cores(monkeypatch):
    from joblib import Parallel, cpu_count, delayed

    for name in ("LAMINA_NUM_THREADS", *library.SHARES):
        monkeypatch.delenv(name, raising=False)
    found = Parallel(n_jobs=2, backend="loky")(delayed(library.threads)() for _ in range(2))
    assert found == [max(1, cpu_count() // 2)] * 2


@pytest.fixture
def table(tmp_path, monkeypatch):
    """A table of our own: native between 100 and 1000 multiplications, never for wide work."""
    content = {"measured": "here", "kernels": {"dense": {"narrow": [100, 1000], "wide": None}}}
    path = tmp_path / "choices.json"
    path.write_text(json.dumps({"avx2": content}))
    monkeypatch.setattr(choices, "TABLE", path)
    monkeypatch.delenv("LAMINA_KERNELS", raising=False)
    choices._table.cache_clear()
    yield
    choices._table.cache_clear()


@needs_kernels
def test_the_faster_kernel_is_taken_by_measurement(table, monkeypatch):
    taken = [native.is_faster("dense", "narrow", products) for products in (99, 100, 999, 1000)]
    assert taken == [False, True, True, False]
    assert not native.is_faster("dense", "wide", 500)
    assert native.is_faster("dense", "not measured", 500)
    assert native.explanation().startswith("native (")
    assert native.explanation().endswith(" here")
    monkeypatch.setenv("LAMINA_KERNELS", "native")
    assert native.is_faster("dense", "wide", 500)
    monkeypatch.setenv("LAMINA_KERNELS", "xla")
    assert not native.is_faster("dense", "narrow", 500)


def test_the_table_has_a_row_for_each_kind_of_each_kernel():
    rows = json.loads(choices.TABLE.read_text())
    for found in rows.values():
        kernels = {name: set(kinds) for name, kinds in found["kernels"].items()}
        assert kernels["dense"] == {"few units", "many units"}
        assert kernels["convolution"] == {"few channels", "many channels", "groups"}
        assert kernels["recurrence"] >= {"rnn_tanh", "lstm", "gru"}


HERE = native.instruction_set()


class Processor:
    """What `library._open` returns for processor.so, of a processor that says of bfloat16 …."""

    def __init__(self, half):
        self.instruction_set = lambda: HERE.encode()
        self.half_instruction_set = lambda: half


@pytest.mark.parametrize(
    ("half", "reason"),
    [
        (b"", "this processor lacks AMX"),
        (b"refused", "the system does not let this process use AMX"),
        (b"amx", "no native kernels were built"),  # by a compiler that does not know it
    ],
)
@pytest.mark.skipif(not HERE.startswith("avx"), reason="only x86 is asked")
def test_where_bfloat16_is_not_to_be_had_float32_runs(half, reason, folder, monkeypatch):
    opened = library._open

    def open_ours(path):
        return Processor(half) if path.name == "processor.so" else opened(path)

    (folder / "amx.so").unlink(missing_ok=True)
    monkeypatch.setattr(library, "_open", open_ours)
    library._found_half.cache_clear()
    try:
        assert not native.is_active_in_half()
        assert native.explanation_of_half().startswith(f"none ({reason}")
        assert native.is_active()
    finally:
        library._found_half.cache_clear()


@needs_kernels
def test_a_named_instruction_set_computes_in_float32(monkeypatch):
    monkeypatch.setenv("LAMINA_KERNELS", native.instruction_set())
    library._found_half.cache_clear()
    try:
        assert native.explanation_of_half() == f"none (LAMINA_KERNELS={native.instruction_set()})"
    finally:
        library._found_half.cache_clear()
