"""Golden cases: TFPolicy.update."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from golden_registry import case, cases, outcome
from golden_toolkit import continuous, fill, observation_spec, step_spec


def _policy(ns: Any, values: dict[str, tuple[Any, bool]]) -> Any:
    """A policy that holds these variables, as attributes of these names: ``(value, trainable)``."""

    class Holding(ns.tf_policy.TFPolicy):
        def __init__(self) -> None:
            super().__init__(step_spec(ns), continuous(ns))
            for name, (value, trainable) in values.items():
                setattr(self, name, tf.Variable(value, trainable=trainable, name=name))

        def _distribution(self, time_step: Any, policy_state: Any) -> Any:
            raise NotImplementedError

    return Holding()


def _values(policy: Any) -> list[Any]:
    return [variable.numpy() for variable in policy.variables()]


_TAUS: dict[str, tuple[Any, ...]] = {
    f"tau={tau}/non_trainable={other}": (tau, other) for tau in (0.0, 0.3, 1.0) for other in (None, 0.0, 0.3, 1.0)
}


@cases("update", _TAUS)
def update(ns: Any, tau: float, tau_non_trainable: float | None) -> Any:
    source = _policy(ns, {"a": ([1.0, 2.0], True), "b": (10.0, False), "c": (-1.0, True)})
    target = _policy(ns, {"a": ([5.0, 6.0], True), "b": (20.0, False), "c": (-2.0, True)})
    target.update(source, tau=tau, tau_non_trainable=tau_non_trainable)
    return {"target": _values(target), "source": _values(source)}


@cases("update/sorted", _TAUS)
def update_sorted(ns: Any, tau: float, tau_non_trainable: float | None) -> Any:
    source = _policy(ns, {"a": ([1.0, 2.0], True), "b": (10.0, False), "c": (-1.0, True)})
    target = _policy(ns, {"a": ([5.0, 6.0], True), "b": (20.0, False), "c": (-2.0, True)})
    target.update(source, tau=tau, tau_non_trainable=tau_non_trainable, sort_variables_by_name=True)
    return _values(target)


def _named(ns: Any, names: dict[str, str], values: dict[str, float]) -> Any:
    """A policy with variables of these values as attributes, which have names of their own."""

    class Named(ns.tf_policy.TFPolicy):
        def __init__(self) -> None:
            super().__init__(step_spec(ns), continuous(ns))
            for attribute, name in names.items():
                setattr(self, attribute, tf.Variable(values[attribute], name=name))

        def _distribution(self, time_step: Any, policy_state: Any) -> Any:
            raise NotImplementedError

    return Named()


@cases(
    "update/sorted_by_name",
    {
        "same_names": ({"a": "layer_1", "b": "layer_2"}, {"a": "layer_1", "b": "layer_2"}),
        "numbers_that_cross_ten": ({"a": "layer_9", "b": "layer_10"}, {"a": "layer_10", "b": "layer_11"}),
        "other_attributes": ({"a": "x", "b": "y"}, {"a": "y", "b": "x"}),
    },
)
def sorted_by_name(ns: Any, source_names: dict[str, str], target_names: dict[str, str]) -> Any:
    source = _named(ns, source_names, {"a": 1.0, "b": 2.0})
    target = _named(ns, target_names, {"a": 5.0, "b": 6.0})
    target.update(source, sort_variables_by_name=True)
    return {"a": target.a.numpy(), "b": target.b.numpy()}


@case("update/default_is_a_copy")
def default(ns: Any) -> Any:
    source, target = (_policy(ns, {"a": ([value], True), "b": (value, False)}) for value in (1.0, 2.0))
    target.update(source)
    return _values(target)


@case("update/returns_nothing_to_keep")
def returned(ns: Any) -> Any:
    source, target = (_policy(ns, {"a": (value, True)}) for value in (1.0, 2.0))
    return target.update(source)


@case("update/in_a_function")
def in_a_function(ns: Any) -> Any:
    source, target = (_policy(ns, {"a": (value, True)}) for value in (1.0, 2.0))

    @tf.function
    def move() -> None:
        target.update(source, tau=0.5)

    move()
    move()
    return _values(target)


@case("update/errors")
def errors(ns: Any) -> Any:
    def attempt(source: Any, target: Any, **options: Any) -> Any:
        return outcome(lambda: _policy(ns, target).update(_policy(ns, source), **options))

    one = {"a": (1.0, True)}
    return {
        "tau_above": attempt(one, one, tau=1.5),
        "tau_below": attempt(one, one, tau=-0.5),
        "non_trainable_above": attempt(one, one, tau_non_trainable=1.5),
        "count": attempt(one, {"a": (1.0, True), "b": (1.0, True)}),
        "shape": attempt(one, {"a": ([1.0, 2.0], True)}),
        "dtype": attempt(one, {"a": (1, True)}),
    }


@case("update/nan")
def nan(ns: Any) -> Any:
    source, target = (_policy(ns, {"a": (value, True)}) for value in (1.0, 2.0))

    def move() -> Any:
        target.update(source, tau=float("nan"))
        return _values(target)

    return outcome(move)


@case("update/integers_move_by_a_share")
def integers(ns: Any) -> Any:
    source, target = (_policy(ns, {"a": (value, False)}) for value in (1, 2))

    def move() -> Any:
        target.update(source, tau=0.5)
        return _values(target)

    return outcome(move)


@case("update/half_applied_after_an_error")
def half_applied(ns: Any) -> Any:
    source = _policy(ns, {"a": (1.0, True), "b": ([1.0], True)})
    target = _policy(ns, {"a": (5.0, True), "b": ([5.0, 6.0], True)})
    outcome(lambda: target.update(source))
    return target.variables()[0].numpy()


@case("update/source_without_variables")
def source_without(ns: Any) -> Any:
    target = _policy(ns, {"a": (5.0, True)})
    return outcome(lambda: target.update(_policy(ns, {})))


@case("update/no_variables_on_either_side")
def no_variables(ns: Any) -> Any:
    return outcome(lambda: _policy(ns, {}).update(_policy(ns, {})))


@case("update/trainable_is_read_from_the_target")
def trainable_of_target(ns: Any) -> Any:
    source, target = _policy(ns, {"a": (1.0, True)}), _policy(ns, {"a": (2.0, False)})
    target.update(source, tau=1.0, tau_non_trainable=0.5)
    return _values(target)


@case("update/networks_with_layers")
def layers(ns: Any) -> Any:
    def make() -> Any:
        network = ns.actor_distribution_network.ActorDistributionNetwork(
            observation_spec(), continuous(ns), fc_layer_params=(4, 4)
        )
        return ns.actor_policy.ActorPolicy(step_spec(ns), continuous(ns), network)

    source, target = make(), make()
    fill(source.variables())
    for variable in target.variables():
        variable.assign(tf.ones_like(variable))
    target.update(source, tau=0.25)
    pairs = zip(source.variables(), target.variables(), strict=True)
    return all(bool(tf.reduce_all(tf.abs(0.75 + 0.25 * a - b) < 1e-6)) for a, b in pairs)
