"""How many threads a process uses: other processes, the container's limit, and the fast cores."""

import pytest

from mynah.core.threads import FreeCores, cores_to_use

GROUPS = "sys/fs/cgroup"
CORES = "sys/devices/system/cpu"


def speeds(*values):
    return {f"{CORES}/cpu{number}/cpu_capacity": f"{value}\n" for number, value in enumerate(values)}


@pytest.mark.parametrize("niced", [0, 0.5, 1])
def test_threads_give_way_to_other_processes_also_to_niced_ones(tmp_path, monkeypatch, niced):
    stat, clock = tmp_path / "proc/stat", [0.0]
    stat.parent.mkdir()
    monkeypatch.setattr("mynah.core.threads.time.monotonic", lambda: clock[0])
    monkeypatch.setattr("mynah.core.threads.time.process_time", lambda: 0.0)
    monkeypatch.setattr("mynah.core.threads.os.cpu_count", lambda: 4)

    def busy(seconds):
        user, nice = int(100 * seconds * (1 - niced)), int(100 * seconds * niced)
        stat.write_text(f"cpu  {user} {nice} 0 9000 0 0 0 0 0 0\ncpu0 1 2 3\n")

    busy(0)
    free = FreeCores(3, tmp_path)
    assert free.threads() == 3
    for at, seconds, threads in ((1.0, 0.0, 3), (1.2, 4.0, 3), (2.0, 2.0, 2), (3.0, 6.0, 1), (4.0, 16.0, 1), (5.0, 16.1, 3)):
        clock[0] = at
        busy(seconds)
        assert free.threads() == threads, at
    stat.write_text("nonsense\n")
    clock[0] = 9.0
    assert FreeCores(3, tmp_path).threads() == 3


@pytest.mark.parametrize(
    ("files", "threads"),
    [
        ({f"{GROUPS}/cpu.max": "200000 100000\n"}, 2),
        ({f"{GROUPS}/cpu.max": "150000 100000\n"}, 2),
        ({f"{GROUPS}/cpu.max": "10000 100000\n"}, 1),
        ({f"{GROUPS}/cpu.max": "max 100000\n"}, 8),
        ({f"{GROUPS}/cpu.max": "6400000 100000\n"}, 8),
        ({f"{GROUPS}/cpu/cpu.cfs_quota_us": "300000\n", f"{GROUPS}/cpu/cpu.cfs_period_us": "100000\n"}, 3),
        ({f"{GROUPS}/cpu/cpu.cfs_quota_us": "-1\n", f"{GROUPS}/cpu/cpu.cfs_period_us": "100000\n"}, 8),
        ({f"{GROUPS}/cpu.max": "nonsense"}, 8),
        ({f"{GROUPS}/cpu.max": "0 0"}, 1),
        ({}, 8),
        # a service's limit without a namespace of its own, and that of the group around it
        ({"proc/self/cgroup": "0::/a/b\n", f"{GROUPS}/a/b/cpu.max": "300000 100000"}, 3),
        ({"proc/self/cgroup": "0::/a/b\n", f"{GROUPS}/a/b/cpu.max": "max 100000", f"{GROUPS}/a/cpu.max": "200000 100000"}, 2),
        ({"proc/self/cgroup": "5:x:/\n4:cpu,cpuacct:/a\n", f"{GROUPS}/cpu/a/cpu.cfs_quota_us": "200000",
          f"{GROUPS}/cpu/a/cpu.cfs_period_us": "100000"}, 2),
        ({"proc/self/cgroup": "0::/../../b\n", "sys/b/cpu.max": "100000 100000"}, 8),
        ({"proc/self/cgroup": "nonsense\n"}, 8),
        # hybrid processors: the fast cores by themselves, or all where the slow ones are many or fast enough
        (speeds(*[1024] * 4, *[400] * 4), 4),
        (speeds(*[400] * 4, *[1024] * 4), 4),
        (speeds(*[1024] * 4, *[700] * 4), 8),
        (speeds(1024, 1024, *[600] * 6), 8),
        (speeds(*[1024] * 8), 8),
        (speeds(*[1024] * 16), 8),
        ({**speeds(*[1024] * 4, *[400] * 4), f"{GROUPS}/cpu.max": "200000 100000"}, 2),
    ],
)  # fmt: skip
def test_threads_follow_the_containers_limit_and_the_fast_cores(tmp_path, files, threads):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert cores_to_use(8, tmp_path) == threads
