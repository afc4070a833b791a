"""Who joins whom: one decision by flags, JAX's variables or a launcher, or an error."""

import pytest

from aals_jax.runtime import hosts

SLURM = {
    "SLURM_JOB_ID": "4096",
    "SLURM_STEP_NODELIST": "gpu[07-08]",
    "SLURM_NTASKS": "2",
    "SLURM_PROCID": "1",
    "SLURM_LOCALID": "0",
    "SLURM_STEP_TASKS_PER_NODE": "1(x2)",
}
OPEN_MPI = {
    "OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://10.96.0.1:34911",
    "OMPI_COMM_WORLD_SIZE": "4",
    "OMPI_COMM_WORLD_RANK": "3",
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
}
JAX = {
    "JAX_COORDINATOR_ADDRESS": "node1:1234",
    "JAX_NUM_PROCESSES": "2",
    "JAX_PROCESS_ID": "1",
}
OTHERS = ("PMI_SIZE", "PMI_RANK", "MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_RANK",
          "WORLD_SIZE", "RANK")  # fmt: skip
NAMES = (
    *SLURM,
    *OPEN_MPI,
    *JAX,
    *OTHERS,
    "CUDA_VISIBLE_DEVICES",
    "KUBERNETES_SERVICE_HOST",
)


@pytest.fixture
def environ(monkeypatch):
    """Sets variables in an environment that has no others of a launcher."""

    def use(variables):
        for name in NAMES:
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return dict(variables)

    return use


def test_without_any_sign_a_process_is_alone(environ):
    assert hosts.choose(environ({})) == hosts.ALONE


@pytest.mark.parametrize("variables", [{}, SLURM, JAX])
def test_flags_win_over_all_else(environ, variables):
    chosen = hosts.choose(environ(variables), coordinator="a:99", num_hosts=3, host=2)
    assert (chosen.coordinator, chosen.count, chosen.index) == ("a:99", 3, 2)
    assert hosts.choose(environ(variables), num_hosts=1).count == 1


def test_jaxs_variables_win_over_a_launcher(environ):
    chosen = hosts.choose(environ(SLURM | JAX))
    assert (chosen.coordinator, chosen.count, chosen.index) == ("node1:1234", 2, 1)


@pytest.mark.parametrize("missing", JAX)
def test_a_part_alone_is_refused_and_all_parts_are_named(environ, missing):
    with pytest.raises(ValueError, match=f"without.*{missing}") as caught:
        hosts.choose(environ({k: v for k, v in JAX.items() if k != missing}))
    assert all(name in str(caught.value) for name in JAX)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"JAX_PROCESS_ID": "2"}, "counted from 0 to 1"),
        ({"JAX_PROCESS_ID": "-1"}, "counted from 0 to 1"),
        ({"JAX_NUM_PROCESSES": "two"}, "whole numbers"),
        ({"JAX_COORDINATOR_ADDRESS": "node1"}, "HOST:PORT"),
    ],
)
def test_impossible_values_are_refused(environ, change, words):
    with pytest.raises(ValueError, match=words):
        hosts.choose(environ(JAX | change))


def test_slurms_tasks_meet_at_the_first_node_with_all_of_their_devices(environ):
    chosen = hosts.choose(environ(SLURM))
    assert (chosen.count, chosen.index, chosen.found_by) == (2, 1, "Slurm")
    assert chosen.coordinator.startswith("gpu07:")
    assert chosen.local_device is None  # one task a node: all devices
    other = hosts.choose(environ(SLURM | {"SLURM_PROCID": "0"}))
    assert other.coordinator == chosen.coordinator


@pytest.mark.parametrize(
    ("change", "device"),
    [
        ({"SLURM_STEP_TASKS_PER_NODE": "2"}, 1),
        ({"SLURM_STEP_TASKS_PER_NODE": "2(x3),1"}, 1),
        # Slurm has bound the task to a GPU of its own, which is number 0 there
        ({"SLURM_STEP_TASKS_PER_NODE": "2", "CUDA_VISIBLE_DEVICES": "5"}, None),
        ({"SLURM_STEP_TASKS_PER_NODE": "2", "CUDA_VISIBLE_DEVICES": "0,1"}, 1),
    ],
)
def test_tasks_that_share_a_node_have_one_device_each(environ, change, device):
    shared = SLURM | {"SLURM_LOCALID": "1"} | change
    assert hosts.choose(environ(shared)).local_device == device


def test_one_task_of_slurm_is_alone(environ):
    one = {"SLURM_NTASKS": "1", "SLURM_PROCID": "0"}
    assert hosts.choose(environ(SLURM | one)).count == 1


def test_several_tasks_without_srun_are_refused(environ):
    batch = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4", "SLURM_PROCID": "0"}
    with pytest.raises(ValueError, match="put srun before the command"):
        hosts.choose(environ(batch))
    assert hosts.choose(environ(batch), num_hosts=1).count == 1


@pytest.mark.parametrize("size, rank, name", [
    ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "Open MPI"),  # from version 5 on
    ("PMI_SIZE", "PMI_RANK", "MPI"),
    ("MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_RANK", "MVAPICH"),
    ("WORLD_SIZE", "RANK", "torchrun"),
])  # fmt: skip
def test_tasks_of_a_launcher_that_jax_can_t_read_never_train_alone(
    environ, size, rank, name
):
    variables = environ({size: "4", rank: "2"})
    with pytest.raises(ValueError, match=rf"{name} started 4 tasks.*--host=2 .*{rank}"):
        hosts.choose(variables)
    assert hosts.choose(variables, num_hosts=1).count == 1
    assert hosts.choose(variables, coordinator="a:99", num_hosts=4, host=2).index == 2
    assert hosts.choose(environ({size: "1", rank: "0"})) == hosts.ALONE


def test_open_mpi_is_recognised(environ):
    chosen = hosts.choose(environ(OPEN_MPI))
    assert (chosen.count, chosen.index, chosen.local_device) == (4, 3, 1)


def test_a_pod_of_kubernetes_without_a_job_is_alone(environ):
    assert hosts.choose(environ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"})).count == 1


def test_a_host_that_is_alone_agrees_with_itself():
    hosts.agree({"code": "a"}, {"code": "nothing to do"})
    assert hosts.from_all("x") == ["x"]
    assert hosts.from_primary(lambda: {"a": 1}) == {"a": 1}
