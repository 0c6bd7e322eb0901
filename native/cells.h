// The recurrent cells: what a step does with its products, and the backward rule of that.
//
// The mathematics, with its sources, stands in src/lamina/kernels/cells.py; these are its twins. A cell
// has SLOTS vectors of products for each group of units: slots [X_FIRST, X_FIRST + X_COUNT) take x W_x,
// slots [H_FIRST, H_FIRST + H_COUNT) take h W_h. So a tile of all slots holds all that the step of these
// units needs, and the activations run in registers. SUMS_H: the state h adds to the one before, so that in
// half precision it is kept in full, as c is.
#pragma once

#include "vector.h"

namespace lamina {

constexpr int SLOTS = 4;
constexpr int64_t SLOT_LANES = SLOTS * LANES;

// The LSTM: slots i, f, g, o.
struct Lstm {
  static constexpr int GATES = 4, BIASES = 4, UNITS = LANES;
  static constexpr int X_FIRST = 0, X_COUNT = 4, H_FIRST = 0, H_COUNT = 4;
  static constexpr bool HAS_C = true, SAVES_GATES = true, SUMS_H = false;

  // The gate, a block of columns in the weights, that a slot belongs to, and its lanes' first unit.
  static constexpr int gate(int slot) { return slot; }
  static constexpr int bias(int slot) { return slot; }
  static constexpr int unit(int) { return 0; }

  static INLINE void step(const Vector (&product)[SLOTS], const float*, const float* c_before, float* h,
                          float* c, float* gates) {
    const Vector i = sigmoid(product[0]), f = sigmoid(product[1]);
    const Vector g = tanh(product[2]), o = sigmoid(product[3]);
    const Vector c_after = f * load(c_before) + i * g;
    store(c, c_after);
    store(h, o * tanh(c_after));
    if (!gates) return;
    store(gates, i), store(gates + LANES, f), store(gates + 2 * LANES, g), store(gates + 3 * LANES, o);
  }

  // dh, dc: gradients by the state after the step. dc becomes that by c before; dproduct by the products.
  static INLINE void pullback(const float* gates, const float*, const float*, const float* c_before,
                              const float* c, const float* dh, float* dc, float*, float* dproduct) {
    const Vector i = load(gates), f = load(gates + LANES);
    const Vector g = load(gates + 2 * LANES), o = load(gates + 3 * LANES);
    const Vector t = tanh(load(c)), e = load(dh);
    const Vector d = load(dc) + e * o * (1.0f - t * t);
    store(dproduct, d * g * i * (1.0f - i));
    store(dproduct + LANES, d * load(c_before) * f * (1.0f - f));
    store(dproduct + 2 * LANES, d * i * (1.0f - g * g));
    store(dproduct + 3 * LANES, e * t * o * (1.0f - o));
    store(dc, d * f);
  }
};

// The GRU: slots n, r, z, q, where n takes x W_x alone and q = h W_hn + b_hn is what r multiplies.
struct Gru {
  static constexpr int GATES = 3, BIASES = 4, UNITS = LANES;
  static constexpr int X_FIRST = 0, X_COUNT = 3, H_FIRST = 1, H_COUNT = 3;
  static constexpr bool HAS_C = false, SAVES_GATES = true, SUMS_H = true;

  static constexpr int gate(int slot) { return slot == 0 ? 2 : slot - 1; }
  static constexpr int bias(int slot) { return slot == 0 ? 2 : slot == 3 ? 3 : slot - 1; }
  static constexpr int unit(int) { return 0; }

  static INLINE void step(const Vector (&product)[SLOTS], const float* h_before, const float*, float* h,
                          float*, float* gates) {
    const Vector r = sigmoid(product[1]), z = sigmoid(product[2]), q = product[3];
    const Vector n = tanh(product[0] + r * q);
    store(h, n + z * (load(h_before) - n));
    if (!gates) return;
    store(gates, n), store(gates + LANES, r), store(gates + 2 * LANES, z), store(gates + 3 * LANES, q);
  }

  // dh_before gets what reaches h before not through W_h.
  static INLINE void pullback(const float* gates, const float* h_before, const float*, const float*,
                              const float*, const float* dh, float*, float* dh_before, float* dproduct) {
    const Vector n = load(gates), r = load(gates + LANES);
    const Vector z = load(gates + 2 * LANES), q = load(gates + 3 * LANES), e = load(dh);
    const Vector dn = e * (1.0f - z) * (1.0f - n * n);
    store(dproduct, dn);
    store(dproduct + LANES, dn * q * r * (1.0f - r));
    store(dproduct + 2 * LANES, e * (load(h_before) - n) * z * (1.0f - z));
    store(dproduct + 3 * LANES, dn * r);
    store(dh_before, e * z);
  }
};

// The plain cell: each slot is the product of other units.
template <bool RELU>
struct Plain {
  static constexpr int GATES = 1, BIASES = 1, UNITS = SLOTS * LANES;
  static constexpr int X_FIRST = 0, X_COUNT = 4, H_FIRST = 0, H_COUNT = 4;
  static constexpr bool HAS_C = false, SAVES_GATES = false, SUMS_H = false;

  static constexpr int gate(int) { return 0; }
  static constexpr int bias(int) { return 0; }
  static constexpr int unit(int slot) { return slot * LANES; }

  static INLINE void step(const Vector (&product)[SLOTS], const float*, const float*, float* h, float*,
                          float*) {
    UNROLL for (int s = 0; s < SLOTS; s++) store(h + s * LANES, RELU ? relu(product[s]) : tanh(product[s]));
  }

  static INLINE void pullback(const float*, const float*, const float* h, const float*, const float*,
                              const float* dh, float*, float*, float* dproduct) {
    UNROLL for (int s = 0; s < SLOTS; s++) {
      const Vector a = load(h + s * LANES), e = load(dh + s * LANES);
      store(dproduct + s * LANES, RELU ? (a > 0.0f ? e : Vector{}) : e * (1.0f - a * a));
    }
  }
};

}  // namespace lamina
