// Regularised least squares for many rows: half an iteration of alternating least squares. Each row's normal
// equations (normal_equations.h) are solved by Cholesky, or by a few conjugate gradients
// (conjugate_gradients.h).
//
// Twin of src/lamina/kernels/least_squares.py, which turns Y beforehand so that what all rows share is
// diagonal: a step of conjugate gradients then costs no product with a d × d matrix, and the diagonal
// of the whole is a good preconditioner. Source: Hu, Koren and Volinsky 2008.
//
// Rows are claimed by the threads, those with many entries first.
#include <atomic>
#include <cmath>
#include <vector>

#include "arrays.h"
#include "cholesky.h"
#include "conjugate_gradients.h"
#include "threads.h"
#include "workspace.h"

namespace lamina {
namespace {

constexpr int64_t BLOCK_NUMBERS = 1 << 13;  // factors of one rank update: for the first cache

// The normal equations of one row by Cholesky: with as many unknowns as columns, or as entries.
class Exact {
 public:
  static int64_t floats(const NormalEquations& problem) {
    const int64_t columns = problem.columns;
    return columns * columns + std::max(Panel::floats(columns), block(columns) * columns) + 5 * columns;
  }

  Exact(const NormalEquations& problem, float* memory) : problem_(problem), columns_(problem.columns) {
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

  const NormalEquations& problem_;
  int64_t columns_;
  float *A_, *inverse_, *root_, *b_, *turned_, *diagonal_, *gathered_;
};

// The rows, those with many entries first: in classes, each of at most twice as many as the next.
std::vector<int64_t> heaviest_first(const NormalEquations& problem) {
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
void solve_all(Pool& pool, int64_t threads, const NormalEquations& problem, Settings... settings) {
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
bool is_sound(const NormalEquations& problem, int64_t entries, int64_t rows_of_Y) {
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
  const NormalEquations problem{rows,
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
