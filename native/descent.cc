// The optimiser's step of all weights in one pass: twin of src/lamina/kernels/descent.py, where the
// equations and their sources stand.
//
// The elements of all arrays, end to end, are split evenly over the threads. Of each, gradient, weight and
// moments are read once, and weight and moments are written once, in place where XLA lends the memory.
#include <vector>

#include "arrays.h"
#include "threads.h"
#include "vector.h"

namespace lamina {
namespace {

constexpr float EPSILON = 1e-8f;

// How much of a moment is kept, and 1 less that, rounded from double: 1 - 0.999f is 5e-5 off.
struct Blend {
  float kept, rest;
  constexpr Blend(double decay) : kept(float(decay)), rest(float(1 - decay)) {}
};
constexpr Blend MOMENTUM = 0.9, ADAM_B1 = 0.9, ADAM_B2 = 0.999, RMS_DECAY = 0.99;

// What all elements share, in the order in which the twin lists it.
struct Numbers {
  float rate, shrink, taken, unbias_m, unbias_v;
};

// What a rule makes of an element's gradient.
struct Direction {
  Vector d, D;
};

// The rules: each takes the scaled gradient, and the moments, which it changes.
struct Plain {
  static constexpr int MOMENTS = 0;
  static INLINE Direction of(Vector g, Vector*, const Numbers&) { return {g, broadcast(1.0f)}; }
};

template <bool NESTEROV>
struct Momentum {
  static constexpr int MOMENTS = 1;
  static INLINE Direction of(Vector g, Vector* moments, const Numbers&) {
    Vector& v = moments[0];
    v = MOMENTUM.kept * v + g;
    return {NESTEROV ? MOMENTUM.kept * v + g : v, broadcast(MOMENTUM.rest)};
  }
};

struct Rms {
  static constexpr int MOMENTS = 1;
  static INLINE Direction of(Vector g, Vector* moments, const Numbers&) {
    Vector& v = moments[0];
    v = RMS_DECAY.kept * v + RMS_DECAY.rest * (g * g);
    const Vector D = sqrt(v) + EPSILON;
    return {g / D, D};
  }
};

struct Adam {
  static constexpr int MOMENTS = 2;
  static INLINE Direction of(Vector g, Vector* moments, const Numbers& numbers) {
    Vector &m = moments[0], &v = moments[1];
    m = ADAM_B1.kept * m + ADAM_B1.rest * g;
    v = ADAM_B2.kept * v + ADAM_B2.rest * (g * g);
    const Vector D = sqrt(v) * numbers.unbias_v + EPSILON;
    return {m * numbers.unbias_m / D, D};
  }
};

constexpr int MOST_MOMENTS = 2;

// One array: what is read, what is written (it may be the same memory), and its penalties' strengths.
struct Leaf {
  int64_t size;
  const float *g, *W, *moments[MOST_MOMENTS];
  float *W_new, *moments_new[MOST_MOMENTS];
  float decay, l1;
};

INLINE Vector soft_threshold(Vector W, Vector t) {
  const Vector within = W < -t ? -t : W;
  return W - (within > t ? t : within);
}

// The step of `count` elements from `at` on; `count` is LANES or, where PART, fewer.
template <class Rule, bool PENALISED, bool PART>
INLINE void step(Leaf leaf, Numbers numbers, int64_t at, int64_t count) {
  const auto read = [&](const float* from) { return PART ? load_part(from + at, count) : load(from + at); };
  const auto write = [&](float* to, Vector x) { PART ? store_part(to + at, x, count) : store(to + at, x); };
  Vector moments[MOST_MOMENTS];
  for (int i = 0; i < Rule::MOMENTS; i++) moments[i] = read(leaf.moments[i]);
  const Vector W = read(leaf.W);
  const Direction direction = Rule::of(read(leaf.g) * numbers.shrink, moments, numbers);
  Vector moved = W - numbers.rate * direction.d;
  if (PENALISED) {
    moved = moved - numbers.rate * leaf.decay * W;
    moved = soft_threshold(moved, numbers.rate * leaf.l1 / direction.D);
  }
  write(leaf.W_new, moved);
  for (int i = 0; i < Rule::MOMENTS; i++) write(leaf.moments_new[i], moments[i]);
}

template <class Rule, bool PENALISED>
void step_range(Leaf leaf, Numbers numbers, int64_t begin, int64_t end) {
  int64_t at = begin;
  for (; at + 4 * LANES <= end; at += 4 * LANES)
    UNROLL for (int i = 0; i < 4; i++) step<Rule, PENALISED, false>(leaf, numbers, at + i * LANES, LANES);
  for (; at + LANES <= end; at += LANES) step<Rule, PENALISED, false>(leaf, numbers, at, LANES);
  if (at < end) step<Rule, PENALISED, true>(leaf, numbers, at, end - at);
}

// The step of the elements [rows.begin, rows.end) of all leaves end to end. Within a leaf a cut is moved
// to a whole vector, so that none lies across two cache lines.
template <class Rule>
void step_leaves(const std::vector<Leaf>& leaves, const Numbers& numbers, Rows rows) {
  int64_t first = 0;  // of this leaf
  for (const Leaf& leaf : leaves) {
    const auto cut = [&](int64_t at) {
      return at >= leaf.size ? leaf.size : std::max(at, int64_t{0}) / LANES * LANES;
    };
    const int64_t begin = cut(rows.begin - first), end = cut(rows.end - first);
    if (begin < end) {
      if (leaf.decay != 0.0f || leaf.l1 != 0.0f)
        step_range<Rule, true>(leaf, numbers, begin, end);
      else
        step_range<Rule, false>(leaf, numbers, begin, end);
    }
    first += leaf.size;
  }
}

// Arguments: all weights, all gradients, and all arrays of each moment; results: all but the gradients.
template <class Rule>
std::vector<Leaf> leaves_of(ffi::RemainingArgs arguments, ffi::RemainingRets results, Array decay, Array l1) {
  const size_t count = results.size() / (1 + Rule::MOMENTS);
  const auto read = [&](size_t i) { return arguments.get<Array>(i)->typed_data(); };
  const auto written = [&](size_t i) { return (*results.get<Array>(i))->typed_data(); };
  std::vector<Leaf> leaves(count);
  for (size_t i = 0; i < count; i++) {
    Leaf& leaf = leaves[i];
    leaf.size = arguments.get<Array>(i)->element_count();
    leaf.W = read(i), leaf.W_new = written(i), leaf.g = read(count + i);
    for (size_t k = 0; k < Rule::MOMENTS; k++) {
      leaf.moments[k] = read((2 + k) * count + i);
      leaf.moments_new[k] = written((1 + k) * count + i);
    }
    leaf.decay = decay.element_count() ? decay.typed_data()[i] : 0.0f;
    leaf.l1 = l1.element_count() ? l1.typed_data()[i] : 0.0f;
  }
  return leaves;
}

// No step: what is written is what was read.
template <class Rule>
void stay(const std::vector<Leaf>& leaves) {
  for (const Leaf& leaf : leaves) {
    if (leaf.W_new != leaf.W) memcpy(leaf.W_new, leaf.W, leaf.size * 4);
    for (int k = 0; k < Rule::MOMENTS; k++)
      if (leaf.moments_new[k] != leaf.moments[k]) memcpy(leaf.moments_new[k], leaf.moments[k], leaf.size * 4);
  }
}

template <class Rule>
Status descend(Pool pool, Array numbers, Array decay, Array l1, ffi::RemainingArgs arguments,
               ffi::RemainingRets results, int64_t threads) {
  constexpr int64_t LEAST = 1 << 14;  // elements for which another thread is worth waking
  const float* n = numbers.typed_data();
  const Numbers shared{n[0], n[1], n[2], n[3], n[4]};
  const std::vector<Leaf> leaves = leaves_of<Rule>(arguments, results, decay, l1);
  if (shared.taken == 0.0f) {
    stay<Rule>(leaves);
    return Status::Success();
  }
  int64_t total = 0;
  for (const Leaf& leaf : leaves) total += leaf.size;
  const int64_t use = thread_count(pool, threads);
  const int64_t parts = std::clamp<int64_t>(total / LEAST, 1, 4 * use);
  parallel_for(pool, parts, use,
               [&](int64_t part) { step_leaves<Rule>(leaves, shared, Rows(total, part, parts)); });
  return Status::Success();
}

template <class Rule>
auto bind() {
  return ffi::Ffi::Bind()
      .Ctx<Pool>()
      .Arg<Array>()
      .Arg<Array>()
      .Arg<Array>()
      .RemainingArgs()
      .RemainingRets()
      .Attr<int64_t>("threads")
      .To(descend<Rule>);
}

}  // namespace
}  // namespace lamina

EXPORT(descend_plain, lamina::bind<lamina::Plain>())
EXPORT(descend_momentum, lamina::bind<lamina::Momentum<false>>())
EXPORT(descend_nesterov, lamina::bind<lamina::Momentum<true>>())
EXPORT(descend_rmsprop, lamina::bind<lamina::Rms>())
EXPORT(descend_adam, lamina::bind<lamina::Adam>())
