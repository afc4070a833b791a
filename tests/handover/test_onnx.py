"""Laws of the net as ONNX: the same numbers, or a reason; no folder of this machine."""

import re
import sys
import types

import jax
import numpy as np
import pytest

from aals_jax.handover import folder, onnx_program
from aals_jax.method import steps
from aals_jax.runs import stages
from tests.support.small_runs import random_weights, small_config


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    """A config, and random weights of its net."""
    config = small_config(tmp_path_factory.mktemp("onnx"))
    return config, random_weights(config, statistic=0.2)


def test_what_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr(onnx_program.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install -r requirements/onnx\.txt"):
        onnx_program.check_installed()


@pytest.mark.filterwarnings("ignore")  # of the converter and its packages
def test_onnxruntime_computes_what_the_net_computes(net):
    pytest.importorskip("jax2onnx", reason="see requirements/onnx.txt")
    import onnxruntime

    config, arrays = net
    side = config.data.side
    with jax.numpy_rank_promotion("allow"):  # the converter's code needs it
        content = onnx_program.convert(config, arrays, side=side)
    assert not re.findall(rb"[\w.-]*/[\w./-]+\.py", content)
    session = onnxruntime.InferenceSession(content)
    image = np.random.default_rng(1).random((1, side, side, 1), np.float32)
    (maps,) = session.run(["maps"], {"image": image})
    step = steps.make_eval_step(stages.make_model(config, axis_name=None))
    expected = np.asarray(step(folder.unflatten(arrays), image))
    np.testing.assert_allclose(maps, expected, atol=onnx_program.TOLERANCE)
    assert expected.std() > 1e-3  # not one grey


def test_other_numbers_are_no_program(net, monkeypatch):
    """Whoever converts: here a program of another net comes back."""
    config, arrays = net
    made = types.SimpleNamespace(
        doc_string="", graph=types.SimpleNamespace(node=[]), metadata_props=Props(),
        SerializeToString=lambda: b"x",
    )  # fmt: skip
    fake = types.SimpleNamespace(to_onnx=lambda *_, **__: made)
    monkeypatch.setitem(sys.modules, "jax2onnx", fake)
    monkeypatch.setattr(onnx_program, "_difference", lambda *_: 2e-4)
    with pytest.raises(onnx_program.NotConverted, match=r"something else, by 2\.0e-04"):
        onnx_program.convert(config, arrays, side=config.data.side)
    monkeypatch.setattr(onnx_program, "_difference", lambda *_: float("nan"))
    with pytest.raises(onnx_program.NotConverted):
        onnx_program.convert(config, arrays, side=config.data.side)


class Props(list):
    def add(self, **fields):
        self.append(fields)
