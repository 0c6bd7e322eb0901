// Regularised least squares for many rows: half an iteration of alternating least squares. Row u solves
//
//   (diag(p + λ_u q) + Σ_i w_ui y_i y_iᵀ) x_u = Σ_i r_ui y_i        over its entries i
//
// twin of src/lamina/kernels/least_squares.py, which turns Y beforehand so that what all rows share is
// diagonal: a step of conjugate gradients then costs no product with a d × d matrix, and the diagonal
// of the whole is a good preconditioner. Sources: Hu, Koren and Volinsky 2008; Takács, Pilászy and Tikk
// 2011 for few conjugate gradient steps from the last solution.
//
// Columns are padded with zeros to whole vectors. Rows are claimed by the threads, those with many
// entries first.
#include <atomic>
#include <cmath>
#include <vector>

#include "arrays.h"
#include "cholesky.h"
#include "threads.h"
#include "workspace.h"

namespace lamina {
namespace {

constexpr int64_t PANEL_NUMBERS = 1 << 18;  // factors gathered at a time: a megabyte, for the second cache
constexpr int64_t BLOCK_NUMBERS = 1 << 13;  // and for one rank update: for the first cache
constexpr int64_t AHEAD = 24;               // entries between asking for a row of Y and its use
constexpr float CONVERGED = 1e-14f;         // of the first residual's square

struct Problem {
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
  INLINE void gather(const Problem& problem, int64_t begin, int64_t end, F f) {
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
  INLINE void copy(const Problem& problem, int64_t i, int64_t entry, int64_t end) {
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

// Conjugate gradients for one row, preconditioned by the diagonal (Golub and Van Loan, algorithm 11.5.1).
class ConjugateGradients {
 public:
  static int64_t floats(const Problem& problem) {
    return Panel::floats(problem.columns) + 5 * problem.columns;
  }

  ConjugateGradients(const Problem& problem, int64_t steps, float* memory)
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

  const Problem& problem_;
  int64_t columns_, steps_;
  Panel panel_;
  float *residual_, *direction_, *image_, *diagonal_, *scale_;
};

// The normal equations of one row by Cholesky: with as many unknowns as columns, or as entries.
class Exact {
 public:
  static int64_t floats(const Problem& problem) {
    const int64_t columns = problem.columns;
    return columns * columns + std::max(Panel::floats(columns), block(columns) * columns) + 5 * columns;
  }

  Exact(const Problem& problem, float* memory) : problem_(problem), columns_(problem.columns) {
    A_ = memory, memory += columns_ * columns_;
    for (float** array : {&inverse_, &root_, &b_, &turned_, &diagonal_}) *array = memory, memory += columns_;
    gathered_ = memory;
  }

  void operator()(int64_t u) {
    const float* w = problem_.weight ? problem_.weight + problem_.indptr[u] : nullptr;
    const int64_t count = problem_.count(u);
    bool dual = count <= std::min(columns_ / 2, Panel::most(columns_));
    for (int64_t c = 0; c < columns_; c += LANES) store(diagonal_ + c, problem_.diagonal(u, c));
    for (int64_t c = 0; dual && c < columns_; c++) dual = diagonal_[c] > 0.0f;
    for (int64_t i = 0; dual && w && i < count; i++) dual = w[i] > 0.0f;
    dual ? by_entries(u) : by_columns(u);
  }

 private:
  static int64_t block(int64_t columns) { return std::max<int64_t>(LANES, BLOCK_NUMBERS / columns); }

  void by_columns(int64_t u) {
    const int64_t end = problem_.indptr[u + 1], most = block(columns_);
    float* x = problem_.X + u * columns_;
    std::fill_n(A_, columns_ * columns_, 0.0f);
    std::fill_n(x, columns_, 0.0f);
    for (int64_t begin = problem_.indptr[u]; begin < end; begin += most) {
      const int64_t count = std::min(most, end - begin);
      for (int64_t i = 0; i < count; i++) {
        const int64_t entry = begin + i;
        problem_.prefetch(entry + AHEAD, end);
        const float* y = problem_.factors(entry);
        const float r = problem_.rhs[entry];
        const float root = std::sqrt(problem_.weight_of(entry));
        for (int64_t c = 0; c < columns_; c += LANES) {
          store(x + c, load(x + c) + r * load(y + c));
          store(gathered_ + i * columns_ + c, root * load(y + c));
        }
      }
      add_gramian(A_, columns_, gathered_, count);
    }
    for (int64_t c = 0; c < columns_; c++) A_[c * columns_ + c] += diagonal_[c];
    factorize(A_, columns_, inverse_);
    substitute(A_, columns_, inverse_, x);
  }

  // With D the diagonal, P the row's factors and S = √W: (I + S P D⁻¹ Pᵀ S) z = S⁻¹ r, x = D⁻¹ Pᵀ S z.
  void by_entries(int64_t u) {
    const int64_t begin = problem_.indptr[u], count = problem_.count(u), size = round_up(count, LANES);
    Panel panel(gathered_, columns_, Panel::most(columns_));
    panel.gather(problem_, begin, begin + count, [](int64_t) {});
    for (int64_t i = 0; i < size; i++) {
      root_[i] = i < count ? std::sqrt(problem_.weight_of(begin + i)) : 0.0f;
      b_[i] = i < count ? problem_.rhs[begin + i] / root_[i] : 0.0f;
    }
    for (int64_t i = 0; i < size; i++) {
      for (int64_t c = 0; c < columns_; c += LANES)
        store(turned_ + c, load(panel.row(i) + c * LANES) / load(diagonal_ + c));
      for (int64_t group = i / LANES; group < panel.groups(); group++)
        store(A_ + i * size + group * LANES,
              root_[i] * load(root_ + group * LANES) * panel.products(group, turned_));
      A_[i * size + i] += 1.0f;
    }
    factorize(A_, size, inverse_);
    substitute(A_, size, inverse_, b_);
    float* x = problem_.X + u * columns_;
    std::fill_n(x, columns_, 0.0f);
    for (int64_t group = 0; group < panel.groups(); group++)
      panel.add(group, load(b_ + group * LANES) * load(root_ + group * LANES), x);
    for (int64_t c = 0; c < columns_; c += LANES) store(x + c, load(x + c) / load(diagonal_ + c));
  }

  const Problem& problem_;
  int64_t columns_;
  float *A_, *inverse_, *root_, *b_, *turned_, *diagonal_, *gathered_;
};

// The rows, those with many entries first: in classes, each of at most twice as many as the next.
std::vector<int64_t> heaviest_first(const Problem& problem) {
  const auto rank = [&](int64_t u) {
    const int64_t count = problem.count(u);
    return count ? __builtin_clzll(uint64_t(count)) : 64;
  };
  int64_t place[66] = {};
  for (int64_t u = 0; u < problem.rows; u++) place[rank(u) + 1]++;
  for (int i = 0; i < 65; i++) place[i + 1] += place[i];
  std::vector<int64_t> order(problem.rows);
  for (int64_t u = 0; u < problem.rows; u++) order[place[rank(u)]++] = u;
  return order;
}

template <class Solver, class... Settings>
void solve_all(Pool& pool, int64_t threads, const Problem& problem, Settings... settings) {
  constexpr int64_t CLAIM = 4;
  const std::vector<int64_t> order = heaviest_first(problem);
  const int64_t parts = std::min(thread_count(pool, threads), (problem.rows + CLAIM - 1) / CLAIM);
  const int64_t floats = round_up(Solver::floats(problem), 16);
  Workspace work;
  float* memory = work.take(parts * floats);
  std::atomic<int64_t> next{0};
  parallel_for(pool, parts, [&](int64_t part) {
    Solver solve(problem, settings..., memory + part * floats);
    for (int64_t begin; (begin = next.fetch_add(CLAIM)) < problem.rows;)
      for (int64_t i = begin; i < std::min(begin + CLAIM, problem.rows); i++) {
        const int64_t u = order[i];
        if (i + 1 < problem.rows) problem.prefetch_first(order[i + 1]);
        if (problem.count(u))
          solve(u);
        else
          std::fill_n(problem.X + u * problem.columns, problem.columns, 0.0f);
      }
  });
}

// Whether every entry is about a row that Y has, and rows of X follow each other.
bool is_sound(const Problem& problem, int64_t entries, int64_t rows_of_Y) {
  if (problem.indptr[0] != 0 || problem.indptr[problem.rows] != entries) return false;
  for (int64_t u = 0; u < problem.rows; u++)
    if (problem.count(u) < 0) return false;
  bool sound = true;
  for (int64_t i = 0; i < entries; i++) sound &= uint32_t(problem.indices[i]) < uint64_t(rows_of_Y);
  return sound;
}

// indptr comes as pairs of 32 bits: XLA has 64 only where JAX was told to.
Status solve(Pool pool, Array Y, Lengths indptr, Lengths indices, Array weight, Array rhs, Array ridge,
             Array p, Array q, Array start, Result X, int64_t steps, int64_t threads) {
  const auto given = [](const Array& array) { return array.element_count() ? array.typed_data() : nullptr; };
  const int64_t rows = X->dimensions()[0], columns = X->dimensions()[1];
  const Problem problem{rows,
                        columns,
                        Y.typed_data(),
                        reinterpret_cast<const int64_t*>(indptr.typed_data()),
                        indices.typed_data(),
                        given(weight),
                        rhs.typed_data(),
                        ridge.typed_data(),
                        p.typed_data(),
                        q.typed_data(),
                        given(start),
                        X->typed_data()};
  if (!is_sound(problem, indices.element_count(), Y.dimensions()[0]))
    return Status::InvalidArgument("the sparse matrix is not one, or names rows that Y does not have");
  if (rows == 0) return Status::Success();
  if (steps < 0)
    solve_all<Exact>(pool, threads, problem);
  else
    solve_all<ConjugateGradients>(pool, threads, problem, steps);
  return Status::Success();
}

}  // namespace

}  // namespace lamina

EXPORT(least_squares, lamina::bound(lamina::solve, "steps", "threads"))
