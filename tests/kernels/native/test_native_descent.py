"""The native optimiser step against its reference and optax."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from lamina.kernels import descent, native
from lamina.kernels.descent import NATIVE_WEIGHTS, RULES, Pace, descend

pytestmark = pytest.mark.skipif(
    not native.is_active(), reason=f"native kernels are not in use: {native.explanation()}"
)
RATE, DECAY = np.float32(0.01), 0.3
SHAPES = [(3, 2), (0, 4), (), (33,), (257, 271), (1,), (16,)]  # in several parts, cut anywhere
METHODS = {
    "plain": optax.sgd(0.01),
    "momentum": optax.sgd(0.01, momentum=0.9),
    "nesterov": optax.sgd(0.01, momentum=0.9, nesterov=True),
    "rmsprop": optax.rmsprop(0.01, decay=0.99, eps=1e-8, eps_in_sqrt=False),
    "adam": optax.adam(0.01),
    "adamw": optax.adamw(0.01, weight_decay=DECAY),
}


def arrays(seed=0, scale=1.0):
    rng = np.random.default_rng(seed)
    return [jnp.asarray(scale * rng.normal(size=shape), jnp.float32) for shape in SHAPES]


def start(rule):
    return tuple([jnp.zeros(shape) for shape in SHAPES] for _ in range(RULES[rule].moments))


def stepper(rule, pace, least=0):
    """Return a compiled step that is native from ``least`` weights on."""

    def step(W, g, moments, t):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(descent, "NATIVE_WEIGHTS", least)
            return descend(rule, W, g, moments, t, pace)

    return jax.jit(step)


def pace_of(shrink=None, decay=None, l1=None):
    each = [None if a is None else [np.float32(a)] * len(SHAPES) for a in (decay, l1)]
    return Pace(RATE, shrink, *each)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_five_steps_agree_with_optax(name):
    rule, method = name.removesuffix("w"), METHODS[name]
    step = stepper(rule, pace_of(decay=DECAY if name == "adamw" else None))
    W, moments = arrays(), start(rule)
    expected: Any = W
    state = method.init(W)
    theirs = jax.jit(method.update)
    for t in range(1, 6):
        g = arrays(t, 10.0 ** (t - 3))
        W, moments = step(W, g, moments, np.int32(t))
        updates, state = theirs(g, state, expected)
        expected = optax.apply_updates(expected, updates)
    for found, right in zip(W, expected, strict=True):
        assert_allclose(found, right, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rule", sorted(RULES))
def test_penalised_and_clipped_steps_are_the_references(rule):
    """Exact zeros agree too; far from t = 0, where ``1 - 0.999ᵗ`` would lose digits."""
    pace = pace_of(np.float32(0.5), DECAY, 20.0 if rule == "plain" else 2.0)
    pace.l1[3] = pace.decay[4] = np.float32(0)
    ours, theirs = stepper(rule, pace), stepper(rule, pace, least=1 << 60)
    W = expected = arrays(scale=0.3)
    moments = their_moments = start(rule)
    for t in range(101, 104):
        g = arrays(t)
        W, moments = ours(W, g, moments, np.int32(t))
        expected, their_moments = theirs(expected, g, their_moments, np.int32(t))
    found, right = (jax.tree.leaves(tree) for tree in ((W, moments), (expected, their_moments)))
    for one, other in zip(found, right, strict=True):
        assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    assert 0.2 < np.mean(np.asarray(W[4]) == 0) < 0.999
    assert (np.asarray(W[3]) != 0).all()


@pytest.mark.parametrize("l1", [None, 0.1])
def test_what_is_not_a_number_spoils_its_own_weight_only(l1):
    g = arrays(1)
    g[4] = g[4].at[5, 7].set(jnp.nan)
    g[3] = g[3].at[32].set(jnp.inf)
    W, moments = stepper("adam", pace_of(l1=l1))(arrays(), g, start("adam"), 1)
    for tree in (W, moments[1]):
        where = [np.argwhere(~np.isfinite(np.asarray(leaf))).tolist() for leaf in tree]
        assert where == [[], [], [], [[32]], [[5, 7]], [], []]


def test_what_the_caller_keeps_is_left_alone():
    W, g, moments = arrays(), arrays(1), start("adam")
    before = jax.tree.map(np.array, (W, g, moments))
    step = stepper("adam", pace_of())
    once, again = step(W, g, moments, 1), step(W, g, moments, 1)
    jax.tree.map(assert_array_equal, before, (W, g, moments))
    jax.tree.map(assert_array_equal, once, again)


def test_a_loop_of_steps_writes_in_place():
    """The weights are copied into the loop's memory once, and never inside it."""

    def run(W, moments):
        def body(carry):
            t, W, moments = carry
            g = [jnp.cos(A) for A in W]
            return t + 1, *descend("adam", W, g, moments, t + 1, Pace(RATE))

        return jax.lax.while_loop(lambda carry: carry[0] < 4, body, (jnp.int32(0), W, moments))

    W, moments = arrays(), start("adam")
    program = jax.jit(run, donate_argnums=(0, 1)).lower(W, moments).compile()
    text = program.as_text() or ""
    assert "lamina_descend_adam" in text
    assert "f32[257,271]{1,0} copy(" not in text
    expected, state, step = arrays(), start("adam"), stepper("adam", pace_of(), least=1 << 60)
    for t in range(1, 5):
        expected, state = step(expected, [jnp.cos(A) for A in expected], state, t)
    _, found, _ = program(W, moments)
    for one, other in zip(found, expected, strict=True):
        assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_native_are_steps_of_many_weights_in_float32():
    def lowered(size, dtype="float32"):
        W = jax.ShapeDtypeStruct((size,), dtype)
        return jax.jit(lambda W, g: descend("plain", W, g, (), 1, Pace(RATE))).lower(W, W).as_text()

    assert "lamina_descend_plain" in lowered(NATIVE_WEIGHTS)
    assert "lamina_descend_plain" not in lowered(NATIVE_WEIGHTS - 1)
    assert "lamina_descend_plain" not in lowered(NATIVE_WEIGHTS, "float16")


@pytest.mark.parametrize("name", sorted(RULES))
@pytest.mark.parametrize("least", [0, 1 << 30], ids=["native", "XLA"])
def test_a_step_not_taken_changes_nothing(name, least):
    """Not even where the gradient is no number; and a step taken is as if nobody had asked."""
    W, g, moments = arrays(), arrays(1), tuple(arrays(2 + i) for i in range(RULES[name].moments))
    moments = tuple([abs(m) for m in part] for part in moments)
    spoilt = [jnp.full_like(a, jnp.nan) for a in g]
    stays, goes = (stepper(name, pace_of()._replace(taken=taken), least) for taken in (False, True))
    before = jax.tree.leaves((W, moments))
    for ours, theirs in zip(jax.tree.leaves(stays(W, spoilt, moments, 3)), before, strict=True):
        assert_array_equal(ours, theirs)
    always = stepper(name, pace_of(), least)(W, g, moments, 3)
    for ours, theirs in zip(
        jax.tree.leaves(goes(W, g, moments, 3)), jax.tree.leaves(always), strict=True
    ):
        assert_array_equal(ours, theirs)
