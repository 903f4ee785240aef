from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from distpolicy.distributions import utils
from distpolicy.networks.actor_distribution_network import ActorDistributionNetwork
from distpolicy.networks.q_network import QNetwork
from distpolicy.specs.tensor_spec import BoundedTensorSpec, TensorSpec

tfd, tfb = tfp.distributions, tfp.bijectors
POINTS = np.array([[0.1, 0.2], [-0.4, 0.6]], np.float32)


def nested() -> tuple[Any, tf.Tensor]:
    matrix = tf.constant([[1.0, 2.0], [-1.0, 0.5]])
    normal = tfd.MultivariateNormalDiag(loc=[1.0, 1.0], scale_diag=[2.0, 3.0], validate_args=True)
    bijector = tfb.ScaleMatvecLinearOperator(scale=tf.linalg.LinearOperatorFullMatrix(matrix), adjoint=True)
    return bijector(normal), matrix


def test_parameters_are_what_an_object_was_made_with() -> None:
    distribution, matrix = nested()
    found = utils.get_parameters(distribution)
    assert found.type_ is tfd.TransformedDistribution
    normal = found.params["distribution"]
    assert normal == utils.Params(
        tfd.MultivariateNormalDiag, {"loc": [1.0, 1.0], "scale_diag": [2.0, 3.0], "validate_args": True}
    )
    bijector = found.params["bijector"]
    assert bijector.type_ is tfb.ScaleMatvecLinearOperator
    assert bijector.params["adjoint"] is True
    assert bijector.params["scale"].params == {"matrix": matrix}
    with pytest.raises(TypeError, match="dict of parameters"):
        utils.get_parameters(3.0)


@pytest.mark.parametrize(
    "make",
    [
        lambda: nested()[0],
        lambda: tfb.Tanh()(tfb.Scale(3.0)(tfd.Independent(tfd.Normal([0.1, 0.2], [1.0, 2.0]), 1))),
        lambda: utils.SquashToSpecNormal(
            tfd.MultivariateNormalDiag([0.1, 0.2], [1.0, 2.0]), BoundedTensorSpec((2,), tf.float32, -1, 1)
        ),
    ],
)
def test_an_object_can_be_made_again(make: Any) -> None:
    distribution = make()
    again = utils.make_from_parameters(utils.get_parameters(distribution))
    assert type(again) is type(distribution)
    points = tf.math.tanh(POINTS)
    np.testing.assert_allclose(again.log_prob(tf.identity(points)), distribution.log_prob(points), rtol=1e-5)


def test_dicts_of_parameters_can_be_changed_and_merged() -> None:
    distribution, matrix = nested()
    found = utils.get_parameters(distribution)
    as_dict = utils.parameters_to_dict(found)
    assert as_dict["distribution"] == {
        "loc:0": 1.0,
        "loc:1": 1.0,
        "scale_diag:0": 2.0,
        "scale_diag:1": 3.0,
        "validate_args": True,
    }
    assert utils.parameters_to_dict(found, tensors_only=True)["bijector"] == {"scale": {"matrix": matrix}}
    as_dict["bijector"]["scale"]["matrix"] = tf.eye(2)
    as_dict["distribution"].update({"loc:0": 0.0, "loc:1": 0.0})
    changed = utils.make_from_parameters(utils.merge_to_parameters_from_dict(found, as_dict))
    expected = tfd.MultivariateNormalDiag([0.0, 0.0], [2.0, 3.0]).log_prob(POINTS)
    np.testing.assert_allclose(changed.log_prob(POINTS), expected, rtol=1e-5)
    unchanged = utils.merge_to_parameters_from_dict(found, {})
    assert utils.parameters_to_dict(unchanged)["distribution"] == utils.parameters_to_dict(found)["distribution"]
    with pytest.raises(ValueError, match="no 'other'"):
        utils.merge_to_parameters_from_dict(found, {"other": 1})
    with pytest.raises(KeyError, match="loc:1"):
        utils.merge_to_parameters_from_dict(found, {"distribution": {"loc:0": 0.0}})


def test_a_networks_output_spec_has_the_parameters_of_one_row() -> None:
    spec = BoundedTensorSpec((), tf.int32, 0, 2)
    network = ActorDistributionNetwork(TensorSpec((2,), tf.float32), spec, fc_layer_params=(4,))
    output = network.create_variables()
    assert output.parameters.params["logits"] == tf.TensorSpec((3,), tf.float32)
    utils.assert_specs_are_compatible(output, spec, "network")
    with pytest.raises(ValueError, match=r"network: .* does not fit"):
        utils.assert_specs_are_compatible(output, BoundedTensorSpec((2,), tf.int32, 0, 2), "network")
    with pytest.raises(ValueError, match="network: "):
        utils.assert_specs_are_compatible((output,), spec, "network")
    q_values = QNetwork(TensorSpec((2,), tf.float32), spec).create_variables()
    utils.assert_specs_are_compatible(q_values, TensorSpec((3,), tf.float32), "network")
    with pytest.raises(TypeError, match="specs instead of tensors"):
        utils.DistributionSpecV2(
            tf.TensorShape([]), tf.float32, utils.Params(tfd.Normal, {"loc": [tf.constant(1.0)], "scale": 1.0})
        )
