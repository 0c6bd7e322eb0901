// Conjugate gradients for the normal equations of one row, preconditioned by their diagonal, which with few
// steps from the last solution is enough. Sources: Golub and Van Loan, algorithm 11.5.1; Takács, Pilászy and
// Tikk 2011.
#pragma once

#include <algorithm>
#include <cstring>

#include "normal_equations.h"

namespace lamina {

constexpr float CONVERGED = 1e-14f;  // of the first residual's square

class ConjugateGradients {
 public:
  static int64_t floats(const NormalEquations& problem) {
    return Panel::floats(problem.columns) + 5 * problem.columns;
  }

  ConjugateGradients(const NormalEquations& problem, int64_t steps, float* memory)
      : problem_(problem),
        columns_(problem.columns),
        steps_(steps),
        panel_(memory, columns_, Panel::most(columns_)) {
    memory += Panel::floats(columns_);
    for (float** array : {&residual_, &direction_, &image_, &diagonal_, &scale_})
      *array = memory, memory += columns_;
  }

  void operator()(int64_t u) {
    float* x = problem_.X + u * columns_;
    if (problem_.start)
      memcpy(x, problem_.start + u * columns_, columns_ * 4);
    else
      std::fill_n(x, columns_, 0.0f);
    for (int64_t c = 0; c < columns_; c += LANES) store(diagonal_ + c, problem_.diagonal(u, c));
    float size = begin(u, x);
    const float enough = CONVERGED * size;
    for (int64_t step = 0; step < steps_ && !(size <= enough); step++) {
      const float curvature = apply(u);
      if (curvature <= 0.0f) return;
      const float length = size / curvature, before = size;
      size = walk(length, x);
      turn(size / before);
    }
  }

 private:
  // residual = Σ (r - w y·x) y - diag x, its preconditioned self the first direction.
  float begin(int64_t u, const float* x) {
    std::fill_n(residual_, columns_, 0.0f);
    std::fill_n(scale_, columns_, 0.0f);
    for_panels(u, true, [&](int64_t group) {
      const Vector products = panel_.products(group, x);
      panel_.add(group, panel_.rhs(group) - panel_.weight(group) * products, residual_);
      panel_.add_squares(group, scale_);
    });
    Vector sum = {};
    for (int64_t c = 0; c < columns_; c += LANES) {
      const Vector diagonal = load(diagonal_ + c);
      const Vector r = load(residual_ + c) - diagonal * load(x + c);
      const Vector scale = 1.0f / at_least(load(scale_ + c) + diagonal, 1e-30f);
      store(residual_ + c, r), store(scale_ + c, scale), store(direction_ + c, scale * r);
      sum += scale * r * r;
    }
    return lane_sum(sum);
  }

  // image = A direction; the result is direction·image.
  float apply(int64_t u) {
    std::fill_n(image_, columns_, 0.0f);
    for_panels(u, false, [&](int64_t group) {
      const Vector products = panel_.products(group, direction_);
      panel_.add(group, panel_.weight(group) * products, image_);
    });
    Vector sum = {};
    for (int64_t c = 0; c < columns_; c += LANES) {
      const Vector d = load(direction_ + c), image = load(image_ + c) + load(diagonal_ + c) * d;
      store(image_ + c, image);
      sum += image * d;
    }
    return lane_sum(sum);
  }

  float walk(float length, float* x) {
    Vector sum = {};
    for (int64_t c = 0; c < columns_; c += LANES) {
      store(x + c, load(x + c) + length * load(direction_ + c));
      const Vector r = load(residual_ + c) - length * load(image_ + c);
      store(residual_ + c, r);
      sum += r * r * load(scale_ + c);
    }
    return lane_sum(sum);
  }

  void turn(float share) {
    for (int64_t c = 0; c < columns_; c += LANES)
      store(direction_ + c, load(scale_ + c) * load(residual_ + c) + share * load(direction_ + c));
  }

  // Call f(group) for all groups of the row; what fits the panel is gathered but the first time.
  template <class F>
  INLINE void for_panels(int64_t u, bool first, F f) {
    const int64_t end = problem_.indptr[u + 1];
    const bool fits = problem_.count(u) <= panel_.most();
    for (int64_t begin = problem_.indptr[u]; begin < end; begin += panel_.most()) {
      if (first || !fits)
        panel_.gather(problem_, begin, end, f);
      else
        for (int64_t group = 0; group < panel_.groups(); group++) f(group);
    }
  }

  const NormalEquations& problem_;
  int64_t columns_, steps_;
  Panel panel_;
  float *residual_, *direction_, *image_, *diagonal_, *scale_;
};

}  // namespace lamina
