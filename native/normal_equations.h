// The normal equations of least squares for many rows, of each only its own entries: row u solves
//
//   (diag(p + λ_u q) + Σ_i w_ui y_i y_iᵀ) x_u = Σ_i r_ui y_i        over its entries i
//
// Columns are padded with zeros to whole vectors.
#pragma once

#include <algorithm>
#include <cstring>

#include "lanes.h"
#include "matrix.h"

namespace lamina {

constexpr int64_t PANEL_NUMBERS = 1 << 18;  // factors gathered at a time: a megabyte, for the second cache
constexpr int64_t AHEAD = 24;               // entries between asking for a row of Y and its use

struct NormalEquations {
  int64_t rows, columns;  // columns: padded
  const float* Y;
  const int64_t* indptr;
  const int32_t* indices;
  const float *weight, *rhs, *ridge, *p, *q, *start;  // weight and start may be null
  float* X;

  int64_t count(int64_t u) const { return indptr[u + 1] - indptr[u]; }
  float weight_of(int64_t entry) const { return weight ? weight[entry] : 1.0f; }
  const float* factors(int64_t entry) const { return Y + indices[entry] * columns; }
  void prefetch(int64_t entry, int64_t end) const {
    if (entry >= end) return;
    const float* y = factors(entry);
    for (int64_t c = 0; c < columns; c += 64 / sizeof(float)) __builtin_prefetch(y + c, 0, 2);
  }
  void prefetch_first(int64_t u) const {
    for (int64_t i = 0; i < AHEAD; i++) prefetch(indptr[u] + i, indptr[u + 1]);
  }
  Vector diagonal(int64_t u, int64_t column) const { return load(p + column) + ridge[u] * load(q + column); }
};

// Entries gathered from Y, LANES of them a group; within a group the first vector of each, then the
// second: all products read them in order.
class Panel {
 public:
  Panel(float* memory, int64_t columns, int64_t most)
      : columns_(columns), most_(most), weight_(memory), rhs_(memory + most), rows_(memory + 2 * most) {}

  static int64_t most(int64_t columns) {
    return std::max<int64_t>(LANES, PANEL_NUMBERS / columns / LANES * LANES);
  }
  static int64_t floats(int64_t columns) { return most(columns) * (columns + 2); }

  int64_t most() const { return most_; }
  int64_t groups() const { return groups_; }
  Vector weight(int64_t group) const { return load(weight_ + group * LANES); }
  Vector rhs(int64_t group) const { return load(rhs_ + group * LANES); }

  // Copy the entries from `begin` on, as many as fit and not beyond `end`, calling f(group) as each group
  // comes: the next one's memory is then under way while f computes.
  template <class F>
  INLINE void gather(const NormalEquations& problem, int64_t begin, int64_t end, F f) {
    groups_ = round_up(std::min(most_, end - begin), LANES) / LANES;
    for (int64_t group = 0; group < groups_; group++) {
      for (int64_t i = group * LANES; i < (group + 1) * LANES; i++) copy(problem, i, begin + i, end);
      f(group);
    }
  }

  // y_i·x for the entries i of a group.
  INLINE Vector products(int64_t group, const float* x) const {
    const float* y = rows_ + group * LANES * columns_;
    Vector sums[LANES] = {};
    for (int64_t c = 0; c < columns_; c += LANES, y += LANES * LANES) {
      const Vector part = load(x + c);
      UNROLL for (int i = 0; i < LANES; i++) sums[i] += part * load(y + i * LANES);
    }
    return lane_sums(sums);
  }

  // to += Σ_i z_i y_i over a group.
  INLINE void add(int64_t group, Vector z, float* to) const {
    const float* y = rows_ + group * LANES * columns_;
    float numbers[LANES];
    store(numbers, z);
    Vector factor[LANES];
    UNROLL for (int i = 0; i < LANES; i++) factor[i] = broadcast(numbers[i]);
    for (int64_t c = 0; c < columns_; c += LANES, y += LANES * LANES) {
      Vector even = load(to + c), odd = {};
      UNROLL for (int i = 0; i < LANES; i += 2) {
        even += factor[i] * load(y + i * LANES);
        odd += factor[i + 1] * load(y + (i + 1) * LANES);
      }
      store(to + c, even + odd);
    }
  }

  // to += Σ_i w_i y_i∘y_i over a group.
  INLINE void add_squares(int64_t group, float* to) const {
    const float* y = rows_ + group * LANES * columns_;
    const float* w = weight_ + group * LANES;
    for (int64_t c = 0; c < columns_; c += LANES, y += LANES * LANES) {
      Vector sum = load(to + c);
      UNROLL for (int i = 0; i < LANES; i++) {
        const Vector part = load(y + i * LANES);
        sum += part * part * w[i];
      }
      store(to + c, sum);
    }
  }

  // y of entry i, its first vector at the result and the next LANES vectors on.
  float* row(int64_t i) const { return rows_ + i / LANES * LANES * columns_ + i % LANES * LANES; }

 private:
  INLINE void copy(const NormalEquations& problem, int64_t i, int64_t entry, int64_t end) {
    float* to = row(i);
    weight_[i] = rhs_[i] = 0.0f;
    if (entry >= end) {
      for (int64_t c = 0; c < columns_; c += LANES) store(to + c * LANES, Vector{});
      return;
    }
    problem.prefetch(entry + AHEAD, end);
    weight_[i] = problem.weight_of(entry), rhs_[i] = problem.rhs[entry];
    const float* y = problem.factors(entry);
    for (int64_t c = 0; c < columns_; c += LANES) store(to + c * LANES, load(y + c));
  }

  int64_t columns_, most_, groups_ = 0;
  float *weight_, *rhs_, *rows_;
};

}  // namespace lamina
