"""Which nodes go to float together."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest

from edgecnn.quantize.sites import activation_site, block_sites, excite_branches

GraphOf = Callable[..., onnx.ModelProto]
Export = Callable[[str], onnx.ModelProto]

CONV = {"w": np.ones((3, 3, 1, 1), np.float32)}
EXCITE = """a = Conv(x, w) g = GlobalAveragePool(a) h = Conv(g, w) i = Relu(h) j = Conv(i, w)
    k = HardSigmoid(j) m = Mul(k, a) y = Conv(m, w)"""


def test_an_activation_takes_its_maker_and_all_its_readers(graph_of: GraphOf) -> None:
    model = graph_of("a = Conv(x, w) b = Conv(a, w) c = Sigmoid(a) d = Mul(b, c) y = Conv(d, w)", CONV)
    site = activation_site(model, "a")
    assert site.name == "a"
    assert site.nodes == {"a", "b", "c"}


def test_what_only_passes_values_on_is_looked_through(graph_of: GraphOf) -> None:
    nodes = """a = Conv(x, w) b = Relu(a) c = MaxPool<kernel_shape=[2, 2]>(b) d = Conv(c, w) e = Flatten(b)
        y = Relu(d)"""
    model = graph_of(nodes, CONV)
    everyone = {"a", "b", "c", "d", "e"}
    assert activation_site(model, "c").nodes == {"a", "b", "c", "d"}
    assert activation_site(model, "b").nodes == everyone


def test_the_input_has_readers_only(graph_of: GraphOf) -> None:
    model = graph_of("a = Conv(x, w) b = Sigmoid(x) y = Add(a, b)", CONV)
    assert activation_site(model, "x").nodes == {"a", "b"}


def test_a_squeeze_excite_branch_ends_before_the_product(graph_of: GraphOf) -> None:
    site = excite_branches(graph_of(EXCITE, CONV))
    assert site.nodes == {"g", "h", "i", "j", "k"}
    assert site.name == "squeeze-excite"


def test_all_branches_are_one_site(graph_of: GraphOf) -> None:
    second = "m = Mul(k, a) g2 = GlobalAveragePool(m) k2 = Sigmoid(g2) m2 = Mul(m, k2) y = Conv(m2, w)"
    site = excite_branches(graph_of(EXCITE.replace("m = Mul(k, a) y = Conv(m, w)", second), CONV))
    assert site.nodes == {"g", "h", "i", "j", "k", "g2", "k2"}


@pytest.mark.parametrize(
    "nodes",
    [
        "a = Conv(x, w) g = GlobalAveragePool(a) y = Flatten(g)",
        "a = Conv(x, w) g = GlobalAveragePool(a) h = Conv(g, w) k = Sigmoid(g) m = Mul(h, k) y = Flatten(m)",
        "a = Conv(x, w) s = Sigmoid(a) y = Mul(a, s)",
    ],
    ids=["pooling for the classifier", "a product of single pixels", "SiLU"],
)
def test_networks_without_excitation_have_none(nodes: str, graph_of: GraphOf) -> None:
    assert excite_branches(graph_of(nodes, CONV)).nodes == frozenset()


def test_blocks_are_told_by_the_names_of_modules_the_noisiest_first(graph_of: GraphOf) -> None:
    model = graph_of("a = Conv(x, w) b = Relu(a) c = Conv(b, w) d = Conv(c, w) y = Conv(d, w)", CONV)
    names = ["conv1/Conv", "layer1.0.conv/Conv", "layer1.0/Relu", "layer1.1.conv/Conv", "head/Conv"]
    for node, name in zip(model.graph.node, names, strict=True):
        node.name = name
    sites = block_sites(model, {"b": 0.1, "c": 0.2, "d": 0.5, "a": 9.0})
    assert [(site.name, set(site.nodes)) for site in sites] == [
        ("layer1.1", {"layer1.1.conv/Conv"}),
        ("layer1.0", {"layer1.0.conv/Conv", "layer1.0/Relu"}),
    ]


def test_nodes_without_modules_are_in_no_block(graph_of: GraphOf) -> None:
    assert block_sites(graph_of(EXCITE, CONV), {"a": 1.0}) == []


def test_the_blocks_of_an_export(export: Export) -> None:
    model = export("cifar_resnet20")
    sites = {site.name: site.nodes for site in block_sites(model, {})}
    assert len(sites) == 9
    assert sum(map(len, sites.values())) == len(set().union(*sites.values())) < len(model.graph.node)
    assert excite_branches(model).nodes == frozenset()
