from __future__ import annotations

import pytest

from smentry.launch import network
from smentry.launch.cluster import Cluster

EFA = {"FI_PROVIDER": "efa", "NCCL_PROTO": "simple"}
RDMA = {"FI_EFA_USE_DEVICE_RDMA": "1", "RDMAV_FORK_SAFE": "1"}


@pytest.mark.parametrize(
    ("instance_type", "expected"),
    [
        ("ml.m5.xlarge", {}),
        ("local", {}),
        ("ml.g5.48xlarge", EFA),
        ("ml.p4d.24xlarge", {**EFA, **RDMA}),
        ("ml.trn1.32xlarge", {**EFA, **RDMA}),
    ],
)
def test_the_instance_type_decides_about_efa(instance_type: str, expected: dict[str, str]) -> None:
    assert network.variables(Cluster(["a"], "a", "", instance_type), {}) == expected


def test_several_hosts_meet_at_the_interface_that_the_platform_names() -> None:
    both = {"NCCL_SOCKET_IFNAME": "eth1", "GLOO_SOCKET_IFNAME": "eth1"}
    assert network.variables(Cluster(["a", "b"], "b", "eth1"), {}) == both
    assert network.variables(Cluster(["a"], "a", "eth1"), {}) == {"NCCL_SOCKET_IFNAME": "eth1"}
    assert network.variables(Cluster(["a", "b"], "b"), {}) == {}


def test_what_the_user_set_is_kept_even_where_it_is_empty() -> None:
    cluster = Cluster(["a", "b"], "a", "eth0", "ml.p5.48xlarge")
    own = {"NCCL_SOCKET_IFNAME": "ib0", "NCCL_PROTO": "", "FI_PROVIDER": "tcp"}
    assert network.variables(cluster, own) == {"GLOO_SOCKET_IFNAME": "eth0", **RDMA}
